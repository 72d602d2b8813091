//! Tells an address of an administrator's.

use std::time::Duration;

use http::Request;
use kube::{Client, Config, ResourceExt};
use prorata_ledger::budget::Threshold;
use prorata_ledger::money;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Assessed;

/// How often it is tried.
const TRIES: u32 = 3;
/// How long each may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The pause after the first; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// What it is told: amounts as text, because they are exact.
pub(super) fn body(one: &Assessed, threshold: Threshold, text: &str) -> Value {
    let standing = &one.standing;
    json!({
        "tenant": one.tenant.name_any(),
        "threshold": threshold.name(),
        "policy": one.policy.name(),
        "currency": one.currency,
        "budget": money::exact(i128::from(standing.budget_micros)),
        "spent": money::exact(standing.spent_micros),
        "forecast": standing.forecast_micros.map(money::exact),
        "text": text,
    })
}

/// Posts it; redirections are not followed. The certificate is checked by the system's authorities.
pub(super) async fn post(url: &str, body: &Value) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let path = uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let mut origin = uri.into_parts();
    origin.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    let origin = http::Uri::from_parts(origin).map_err(|error| error.to_string())?;
    // It is a client of HTTPS like any other, once it is told of no cluster.
    let client = Client::try_from(Config::new(origin)).map_err(|error| error.to_string())?;
    let mut pause = PAUSE;
    for attempt in 1.. {
        let request = Request::post(&path).header("Content-Type", "application/json");
        let request = request.body(body.to_string().into_bytes());
        let request = request.map_err(|error| error.to_string())?;
        let why = match timeout(WITHIN, client.request_text(request)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {WITHIN:?}"),
        };
        if attempt == TRIES {
            return Err(why);
        }
        sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers each request with the next of these codes, and returns what it was sent last.
    fn server(codes: [&'static str; 2]) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?key=k", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let mut sent = String::new();
            for code in codes {
                let (mut stream, _) = listener.accept().unwrap();
                let mut read = [0; 4096];
                sent.clear();
                while !sent.ends_with('}') {
                    let count = stream.read(&mut read).unwrap();
                    sent.push_str(std::str::from_utf8(&read[..count]).unwrap());
                }
                let head =
                    format!("HTTP/1.1 {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).unwrap();
            }
            sent
        });
        (url, served)
    }

    #[tokio::test]
    async fn it_is_told_again_after_a_failure() {
        let (url, served) = server(["503 Busy", "204 No Content"]);
        post(&url, &json!({"tenant": "red"})).await.unwrap();
        let sent = served.join().unwrap();
        assert!(sent.starts_with("POST /hook?key=k HTTP/1.1\r\n"), "{sent}");
        assert!(sent.ends_with("{\"tenant\":\"red\"}"), "{sent}");
    }
}
