//! Two controllers behind a balancer. They reach the API server through something that may fail.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use prorata_controlplane::{Process, User};

use super::proxy::Proxy;
use crate::cluster::controller::{free_address, replay_all};
use crate::outage::world::World;

/// The two, and what stands around them.
pub(crate) struct Pair {
    controllers: [Controller; 2],
    /// Where kube-scheduler and the controllers' own probes ask.
    pub(crate) balancer: Proxy,
    /// How the controllers reach the API server.
    pub(crate) api_server: Proxy,
}

struct Controller {
    name: &'static str,
    process: Process,
    extender: SocketAddr,
    health: SocketAddr,
    /// Its directory, and the kubeconfig that goes through what may fail.
    files: (PathBuf, PathBuf),
}

impl Controller {
    /// As its configuration in the directory says.
    fn launch(name: &str, (directory, kubeconfig): &(PathBuf, PathBuf)) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
        let config = directory.join(format!("{name}.yaml"));
        command.arg("controller").arg("--config").arg(config);
        command.arg("--kubeconfig").arg(kubeconfig);
        Process::start(name, command, directory, false).unwrap()
    }
}

impl Pair {
    /// Starts both; the extender's address that kube-scheduler knows is the balancer's.
    pub(crate) async fn start(world: &World) -> Self {
        let plane = &world.cluster.plane;
        let directory = plane.directory();
        let kubeconfig = fs::read_to_string(plane.kubeconfig(User::Controller)).unwrap();
        let url = kubeconfig
            .lines()
            .find_map(|line| line.trim().strip_prefix("server: https://"));
        let real = url.unwrap().to_owned();
        let cut = free_address();
        let api_server = Proxy::start(cut, vec![real.parse().unwrap()]).await;
        let kubeconfig = kubeconfig.replace(&real, &cut.to_string());
        let through = directory.join("through-proxy.kubeconfig");
        fs::write(&through, kubeconfig).unwrap();

        let config = fs::read_to_string(&world.site.config).unwrap();
        let tls = directory.join("scheduler-tls");
        let file = |name: &str| tls.join(name).display().to_string();
        let balanced = world.site.extender;
        let probe = format!(
            "  probe: {{url: \"https://{balanced}\", certFile: {}, keyFile: {}, caFile: {}}}\nhealth:",
            file("tls.crt"),
            file("tls.key"),
            file("ca.crt")
        );
        let files = (directory.to_owned(), through.clone());
        let start = |name: &'static str| {
            let (extender, health) = (free_address(), free_address());
            let log = directory
                .join(format!("{name}.decisions"))
                .display()
                .to_string();
            let own = format!("{config}decisionLog: {{path: {log}, files: 20}}\n")
                .replace(&balanced.to_string(), &extender.to_string())
                .replace(&world.site.health.to_string(), &health.to_string())
                .replace("health:", &probe);
            fs::write(directory.join(format!("{name}.yaml")), own).unwrap();
            Controller {
                name,
                process: Controller::launch(name, &files),
                extender,
                health,
                files: files.clone(),
            }
        };
        let (first, second) = (start("controller-a"), start("controller-b"));
        let balancer = Proxy::start(balanced, vec![first.extender, second.extender]).await;
        let pair = Self {
            controllers: [first, second],
            balancer,
            api_server,
        };
        world
            .until("both controllers answer", async || {
                pair.ready(0).await && pair.ready(1).await
            })
            .await;
        pair
    }

    /// The one that decides; `None` while none or both say that they do.
    pub(crate) async fn leader(&self) -> Option<usize> {
        match (self.leads(0).await, self.leads(1).await) {
            (true, false) => Some(0),
            (false, true) => Some(1),
            _ => None,
        }
    }

    pub(crate) async fn leads(&self, which: usize) -> bool {
        self.metric(which, "prorata_leader").await == Some(1.0)
    }

    pub(crate) async fn ready(&self, which: usize) -> bool {
        let answer = self.get(which, "/readyz").await;
        answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// The value of a series without labels.
    pub(crate) async fn metric(&self, which: usize, name: &str) -> Option<f64> {
        let text = self.get(which, "/metrics").await?;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }

    /// Stops a process where it stands, or lets it go on.
    pub(crate) fn signal(&self, which: usize, signal: &str) {
        let pid = self.controllers[which].process.pid().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Kills both where they stand.
    pub(crate) fn kill(&mut self) {
        for controller in &mut self.controllers {
            controller.process.kill().unwrap();
        }
    }

    /// Starts both again, and returns when one answers.
    pub(crate) async fn restart(&mut self, world: &World) {
        for controller in &mut self.controllers {
            controller.process = Controller::launch(controller.name, &controller.files);
        }
        world
            .until("a controller answers again", async || {
                self.ready(0).await || self.ready(1).await
            })
            .await;
    }

    /// Whether both find that the extender answers, or that it does not.
    pub(crate) async fn both_find(&self, answers: bool) -> bool {
        self.finds(0, answers).await && self.finds(1, answers).await
    }

    /// Whether one finds so.
    pub(crate) async fn finds(&self, which: usize, answers: bool) -> bool {
        self.metric(which, "prorata_extender_up").await == Some(f64::from(u8::from(answers)))
    }

    /// Where the extenders of these answer.
    pub(crate) fn extenders(&self, which: &[usize]) -> Vec<SocketAddr> {
        let address = |which: &usize| self.controllers[*which].extender;
        which.iter().map(address).collect()
    }

    /// Ends both, and plays again what each of them decided, tenure by tenure.
    pub(crate) fn replay(self, directory: &Path) {
        drop(self.controllers);
        for name in ["controller-a", "controller-b"] {
            let replayed = replay_all(directory, &format!("{name}.decisions"));
            eprintln!("{name} decided {replayed:?}, and again the same");
            assert!(replayed.iter().sum::<usize>() > 0, "{name}: {replayed:?}");
            assert!(
                replayed.len() > 1,
                "{name} led once and again: {replayed:?}"
            );
        }
    }

    pub(crate) fn check(&mut self) {
        for controller in &mut self.controllers {
            controller.process.check().unwrap();
        }
    }

    async fn get(&self, which: usize, path: &'static str) -> Option<String> {
        let address = self.controllers[which].health;
        let asked =
            tokio::task::spawn_blocking(move || crate::cluster::controller::get(address, path));
        asked.await.unwrap()
    }
}
