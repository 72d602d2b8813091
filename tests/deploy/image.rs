//! The Dockerfile, read as far as it can be without anything that builds images: its stages, who
//! runs, and whether the binary finds its libraries in the last one.

use std::process::Command;

use super::{read, text};

/// What the image distroless/cc holds of glibc and GCC.
const IN_THE_IMAGE: [&str; 8] = [
    "linux-vdso.so.1",
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-",
];

/// An instruction and its arguments, continued lines joined.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let joined = dockerfile.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (name, rest) = line
            .split_once(' ')
            .expect("an instruction and its arguments");
        (name.to_owned(), rest.trim().to_owned())
    };
    lines.map(split).collect()
}

#[test]
fn the_image_has_two_stages_and_runs_as_nobody() {
    let all = instructions(&read("deploy/Dockerfile"));
    let known = ["FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT"];
    for (name, _) in &all {
        assert!(known.contains(&name.as_str()), "{name}");
    }
    let stages: Vec<usize> = (0..all.len()).filter(|&at| all[at].0 == "FROM").collect();
    assert_eq!(stages.len(), 2);
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain
        .lines()
        .find(|line| line.starts_with("channel"))
        .unwrap();
    let version = channel.split('"').nth(1).unwrap();
    let (build, run) = (&all[0].1, &all[stages[1]].1);
    assert!(
        build.contains(&format!("rust:{version}-")),
        "{build} is not Rust {version}"
    );
    assert!(
        build.contains("trixie") && run.contains("debian13"),
        "another glibc"
    );
    assert!(run.contains("distroless/cc"), "no glibc");

    let last = &all[stages[1]..];
    let value = |name: &str| last.iter().find(|(n, _)| n == name).unwrap().1.as_str();
    let uid: u32 = value("USER").split(':').next().unwrap().parse().unwrap();
    assert_ne!(uid, 0);
    let entrypoint: Vec<String> = serde_json::from_str(value("ENTRYPOINT")).unwrap();
    let (_, to) = value("COPY").rsplit_once(' ').unwrap();
    assert_eq!(entrypoint, [to]);
    assert!(value("COPY").starts_with("--from=build "));
}

#[test]
fn the_binary_needs_no_library_that_the_image_lacks() {
    let ldd = Command::new("ldd")
        .arg(env!("CARGO_BIN_EXE_prorata"))
        .output();
    let printed = text(ldd.unwrap());
    assert!(
        printed.contains("libc.so.6"),
        "not linked against glibc: {printed}"
    );
    for line in printed.lines().map(str::trim) {
        let name = line.split(' ').next().unwrap().rsplit('/').next().unwrap();
        assert!(
            IN_THE_IMAGE.iter().any(|known| name.starts_with(known)),
            "{line}"
        );
    }
}
