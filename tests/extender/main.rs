//! The extender as kube-scheduler meets it: TLS, HTTP and bodies as recorded on the wire.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;
mod limits;
mod rotation;
mod stale;
mod wire;

use rustls::AlertDescription;
use serde_json::{Value, json};
use wire::{Answer, Server};

const NOT_ADMITTED: &str = "Prorata: this pod's job has not been admitted";
const NOT_PLANNED: &str = "Prorata: this pod's job has its place on another node";
const NO_ROOM: &str = "Prorata: the GPUs here are taken or promised";
const NOT_READY: &str = "Prorata: not ready yet";

#[test]
fn only_certificates_of_the_configured_authority_are_let_in() {
    let server = Server::start(true);
    let asked = server.post("/filter", bodies::POD_OF_JOB);
    assert_eq!(
        asked.unwrap().status,
        200,
        "the certificate that was issued to kube-scheduler"
    );

    let without = server.client().without_certificate();
    assert_eq!(
        without.refusal(),
        Some(AlertDescription::CertificateRequired)
    );
    // Of the same name, but another key.
    let other = server.client().of_another_authority();
    assert_eq!(other.refusal(), Some(AlertDescription::DecryptError));
    let own = server.client().with_the_servers_certificate();
    assert_eq!(
        own.refusal(),
        Some(AlertDescription::UnsupportedCertificate),
        "a server's certificate is no client's"
    );
}

#[test]
fn the_server_shows_a_certificate_of_the_same_authority() {
    let server = Server::start(true);
    assert_eq!(
        server.client().trusting_another_authority().negotiate(),
        Err(None)
    );
}

/// Over HTTP/2 Go would stay on the connection to one replica, even one that hangs.
#[test]
fn http_1_1_is_all_that_is_offered() {
    let server = Server::start(true);
    let chosen = |offered: &[&str]| server.client().offering(offered).negotiate();
    assert_eq!(chosen(&["h2", "http/1.1"]), Ok(Some("http/1.1".to_owned())));
    assert_eq!(chosen(&["http/1.1"]), Ok(Some("http/1.1".to_owned())));
    assert_eq!(chosen(&[]), Ok(None));
    assert_eq!(
        chosen(&["h2"]),
        Err(Some(AlertDescription::NoApplicationProtocol))
    );
}

#[test]
fn a_pod_of_an_admitted_job_is_told_its_node_and_nothing_else() {
    let server = Server::start(true);
    let told = |node: &str| {
        format!(
            r#"{{"NodeNames":["{node}"],"FailedNodes":{{}},"FailedAndUnresolvableNodes":{{}},"Error":""}}"#
        )
    };
    let second = bodies::of_job("red", bodies::TRAIN, 1, &["node-0002", "node-0001"]);
    for _ in 0..20 {
        assert_eq!(
            server.exactly("/filter", bodies::POD_OF_JOB),
            told("node-0001")
        );
        assert_eq!(server.exactly("/filter", &second), told("node-0002"));
    }
}

#[test]
fn refusals_are_constant() {
    let server = Server::start(true);
    let names = ["node-0001", "node-0002", "node-0003"];
    let all = |why: &str| -> Value {
        names
            .map(|name| (name.to_owned(), json!(why)))
            .into_iter()
            .collect()
    };
    let again = json!({"NodeNames": [], "FailedNodes": {}, "FailedAndUnresolvableNodes": {}, "Error": NOT_ADMITTED});
    let waiting = bodies::of_job("red", "waiting-uid", 0, &names);
    assert_eq!(server.value("/filter", &waiting), again);
    let elsewhere = json!({"NodeNames": [], "FailedNodes": {}, "FailedAndUnresolvableNodes": {"node-0003": NOT_PLANNED}, "Error": ""});
    let body = bodies::of_job("red", bodies::TRAIN, 0, &["node-0003"]);
    assert_eq!(server.value("/filter", &body), elsewhere);
    let full = json!({"NodeNames": [], "FailedNodes": all(NO_ROOM), "FailedAndUnresolvableNodes": {}, "Error": ""});
    let large = bodies::bare("free", 5, &names);
    assert_eq!(server.value("/filter", &large), full);
    for body in [waiting, body, large] {
        let first = server.exactly("/filter", &body);
        for _ in 0..20 {
            assert_eq!(server.exactly("/filter", &body), first, "byte for byte");
        }
    }
}

/// Nodes 1 and 2 have 3 GPUs each that nobody was promised, node 3 has all of its 4.
#[test]
fn other_pods_are_told_every_node_with_room_that_is_not_promised() {
    let server = Server::start(true);
    let names = ["node-0003", "node-0002", "node-0001"];
    let fitting = |gpus: u32| {
        server.value("/filter", &bodies::bare("free", gpus, &names))["NodeNames"].clone()
    };
    assert_eq!(
        fitting(3),
        json!(names),
        "in the order in which they were asked about"
    );
    assert_eq!(fitting(4), json!(["node-0003"]));
    assert_eq!(fitting(5), json!([]));
    // A pod that names another namespace's Job as its owner takes nobody's place.
    let forged = bodies::read(&bodies::of_job("free", bodies::TRAIN, 0, &["node-0001"]));
    let answer = server.value("/filter", &bodies::with_gpus(forged, 4));
    assert_eq!(answer["NodeNames"], json!([]), "{answer}");
    let recorded = r#"{"NodeNames":["node-0002"],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""}"#;
    assert_eq!(server.exactly("/filter", bodies::BARE_POD), recorded);
}

/// kube-scheduler says where it puts a pod only once it is bound, and asks about the next one before.
#[test]
fn a_pod_that_may_be_on_its_way_leaves_promised_room_alone() {
    let server = Server::start(true);
    let told = |uid: &str, gpus: u32, names: &[&str]| {
        let mut body = bodies::read(&bodies::bare("free", gpus, names));
        body["Pod"]["metadata"]["uid"] = json!(uid);
        server.value("/filter", &body.to_string())["NodeNames"].clone()
    };
    assert_eq!(told("a", 3, &["node-0001"]), json!(["node-0001"]));
    assert_eq!(told("b", 1, &["node-0001"]), json!([]), "one is promised");
    assert_eq!(told("a", 3, &["node-0001"]), json!(["node-0001"]), "again");
    // Where nothing is promised kube-scheduler counts right by itself.
    assert_eq!(told("c", 4, &["node-0003"]), json!(["node-0003"]));
    assert_eq!(told("d", 4, &["node-0003"]), json!(["node-0003"]));
    // Whoever was told something else since is not on its way there any more.
    assert_eq!(told("a", 3, &["node-0003"]), json!(["node-0003"]));
    assert_eq!(told("b", 1, &["node-0001"]), json!(["node-0001"]));
}

/// An unknown name in the answer would be an error for the whole pod.
#[test]
fn answers_name_only_nodes_that_were_asked_about() {
    let server = Server::start(true);
    for names in [&["node-0002"][..], &["ghost", "node-0003"], &["ghost"]] {
        for body in [
            bodies::of_job("red", bodies::TRAIN, 0, names),
            bodies::of_job("red", "waiting-uid", 0, names),
            bodies::bare("free", 1, names),
            bodies::bare("free", 9, names),
        ] {
            let answer = server.value("/filter", &body);
            let told = answer["NodeNames"].as_array().unwrap().iter();
            let mut told: Vec<&str> = told.map(|name| name.as_str().unwrap()).collect();
            for why in ["FailedNodes", "FailedAndUnresolvableNodes"] {
                told.extend(answer[why].as_object().unwrap().keys().map(String::as_str));
            }
            assert!(told.iter().all(|name| names.contains(name)), "{answer}");
            // Without a word about any, its user would read no reason at all.
            assert!(!told.is_empty() || answer["Error"] != "", "{answer}");
        }
    }
}

/// One promised on each of nodes 1 and 2, so 3 are free there, and 4 on node 3.
#[test]
fn the_fullest_node_is_the_best_for_a_pod_without_a_plan() {
    let server = Server::start(true);
    let names = ["node-0003", "node-0001", "ghost"];
    let scored = |gpus| server.exactly("/prioritize", &bodies::bare("free", gpus, &names));
    let answer = |first: u8, second: u8| {
        format!(
            r#"[{{"Host":"node-0003","Score":{first}}},{{"Host":"node-0001","Score":{second}}},{{"Host":"ghost","Score":0}}]"#
        )
    };
    assert_eq!(scored(1), answer(7, 8));
    assert_eq!(scored(3), answer(9, 10));
    assert_eq!(scored(4), answer(10, 0), "where it does not fit");
    let planned = bodies::of_job("red", bodies::TRAIN, 0, &names);
    assert_eq!(server.exactly("/prioritize", &planned), answer(0, 0));
    assert_eq!(server.exactly("/prioritize", bodies::WHOLE_NODES), "[]");
}

#[test]
fn nobody_is_asked_about() {
    let server = Server::start(true);
    let empty = r#"{"NodeNames":[],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""}"#;
    for body in [
        bodies::of_job("red", bodies::TRAIN, 0, &[]),
        bodies::bare("free", 1, &[]),
    ] {
        assert_eq!(server.exactly("/filter", &body), empty);
    }
}

#[test]
fn whole_nodes_are_refused_with_the_setting_that_is_wrong() {
    let server = Server::start(true);
    let expected = concat!(
        r#"{"NodeNames":[],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"#,
        r#""Error":"Prorata: set nodeCacheCapable: true for this extender in the kube-scheduler "#,
        r#"configuration; whole nodes are not read"}"#
    );
    assert_eq!(server.exactly("/filter", bodies::WHOLE_NODES), expected);
    assert_eq!(
        server.exactly("/filter", r#"{"Pod":{"metadata":{},"spec":{}}}"#),
        expected
    );
}

#[test]
fn unknown_fields_and_nulls_are_passed_over() {
    let server = Server::start(true);
    let plain = server.exactly("/filter", bodies::POD_OF_JOB);
    let mut body = bodies::read(bodies::POD_OF_JOB);
    body["Later"] = json!({ "deep": [1, null, { "x": "é" }] });
    body["Nodes"] = Value::Null;
    body["Pod"]["spec"]["later"] = json!(true);
    body["Pod"]["status"] = Value::Null;
    body["Pod"]["metadata"]["creationTimestamp"] = Value::Null;
    assert_eq!(server.exactly("/filter", &body.to_string()), plain);
}

#[test]
fn nobody_is_evicted() {
    let server = Server::start(true);
    let nothing = r#"{"NodeNameToMetaVictims":{}}"#;
    // With whole pods as without nodeCacheCapable, and with nobody to evict as from 1.38 on. The
    // largest is of 5 MB: nobody has to read it to answer.
    let whole = r#"{"Pod":{},"NodeNameToVictims":{"n1":{"Pods":[{"metadata":{}}],"NumPDBViolations":0}},"NodeNameToMetaVictims":null}"#;
    let nobody = r#"{"Pod":{},"NodeNameToVictims":null,"NodeNameToMetaVictims":{"n1":{"Pods":[],"NumPDBViolations":0}}}"#;
    let many = bodies::preempt_among(40_000);
    for body in [bodies::PREEMPT, "{}", whole, nobody, &many] {
        assert_eq!(server.exactly("/preempt", body), nothing);
    }
}

#[test]
fn before_everything_is_listed_nothing_passes() {
    let server = Server::start(false);
    let names = ["node-0001"];
    let expected = json!({"NodeNames": [], "FailedNodes": {}, "FailedAndUnresolvableNodes": {}, "Error": NOT_READY});
    for body in [
        bodies::of_job("red", bodies::TRAIN, 0, &names),
        bodies::bare("free", 0, &names),
    ] {
        assert_eq!(server.value("/filter", &body), expected);
    }
    assert_eq!(
        server.exactly("/preempt", bodies::PREEMPT),
        r#"{"NodeNameToMetaVictims":{}}"#
    );
}

#[test]
fn what_is_no_question_is_refused() {
    let server = Server::start(true);
    let status = |path: &str, body: &str| server.post(path, body).map(|answer| answer.status);
    assert_eq!(status("/filter", ""), Ok(400));
    assert_eq!(status("/filter", "{\"Pod\": "), Ok(400));
    assert_eq!(status("/filter", "[]"), Ok(422));
    assert_eq!(status("/filter", "{}"), Ok(422));
    assert_eq!(
        status(
            "/filter",
            r#"{"Pod":{"metadata":{},"spec":{}},"NodeNames":[1]}"#
        ),
        Ok(422)
    );
    assert_eq!(status("/prioritize", "{}"), Ok(422));
    assert_eq!(status("/bind", "{}"), Ok(404), "kube-scheduler binds");
    let get = server.client().send(
        "GET /filter HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "",
    );
    assert_eq!(get.map(|answer| answer.status), Ok(405));
    let untyped = server.client().send(
        "POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
        "{}",
    );
    assert_eq!(untyped.map(|answer| answer.status), Ok(415));
    let after: Answer = server.post("/filter", bodies::POD_OF_JOB).unwrap();
    assert_eq!(after.status, 200, "and the next question is answered");
}
