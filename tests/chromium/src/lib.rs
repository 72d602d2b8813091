//! A real Chromium, driven by its DevTools protocol over a pair of pipes: what a page asks for, what
//! it complains of, what it looks like. For tests alone.

mod pipe;

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use pipe::Pipe;

/// How long the browser may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Width of the window, in CSS pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Whether its reader prefers the dark.
    pub dark: bool,
    /// Whether scripts run.
    pub scripts: bool,
}

impl Look {
    /// A window on a desk, in the light.
    pub const DESK: Self = Self {
        width: 1280,
        height: 900,
        dark: false,
        scripts: true,
    };
}

/// What a page did while it was opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// The code of the answer.
    pub code: u64,
    /// Every URL that was asked for.
    pub requests: Vec<String>,
    /// Errors of the console, of the network, of the policy.
    pub complaints: Vec<String>,
}

/// Why there is no browser.
#[derive(Debug)]
pub enum Error {
    /// It is not installed.
    Missing,
    /// It does not do what it is told.
    Broken(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => write!(
                f,
                "there is no `chromium` on $PATH: `apt-get install chromium`"
            ),
            Self::Broken(what) => write!(f, "chromium: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// A running browser with one page. Dropping it ends it.
pub struct Browser {
    pipe: Pipe,
    session: String,
}

impl Browser {
    /// Starts one; `None`, loudly, where there is none to start. In CI that is a failure.
    ///
    /// # Panics
    /// When it is there and does not start, or `CI` is set and it is not there.
    #[must_use]
    pub fn start_or_skip() -> Option<Self> {
        Self::or_skip(Self::start(&[]))
    }

    /// The same, of one that trusts any certificate.
    ///
    /// # Panics
    /// Likewise.
    #[must_use]
    pub fn start_trusting_or_skip() -> Option<Self> {
        Self::or_skip(Self::start(&["--ignore-certificate-errors"]))
    }

    fn or_skip(started: Result<Self, Error>) -> Option<Self> {
        let must = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        match started {
            Ok(browser) => Some(browser),
            Err(error @ Error::Missing) if !must => {
                eprintln!("\nSKIPPED, NOT TESTED: {error}\n");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts one with more flags.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(flags: &[&str]) -> Result<Self, Error> {
        let mut pipe = Pipe::open(flags)?;
        let target = pipe.call(None, "Target.createTarget", json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = pipe.call(None, "Target.attachToTarget", attach)?;
        let session = attached["sessionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut browser = Self { pipe, session };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// Opens a page, with `headers` on each request, and waits until all of it is there.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn open(&mut self, url: &str, look: Look, headers: &Value) -> Result<Opened, Error> {
        let metrics = json!({
            "width": look.width, "height": look.height, "deviceScaleFactor": 1,
            "mobile": look.width < 600,
        });
        let scheme = if look.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        self.call("Emulation.setEmulatedMedia", media)?;
        self.call(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": !look.scripts}),
        )?;
        self.call(
            "Emulation.setFocusEmulationEnabled",
            json!({"enabled": true}),
        )?;
        self.call("Network.setExtraHTTPHeaders", json!({"headers": headers}))?;
        self.pipe.forget();
        self.call("Page.navigate", json!({"url": url}))?;
        self.pipe.wait("Page.loadEventFired")?;
        // What the page's scripts complain of has been told once they can be asked something.
        self.evaluate("1")?;
        Ok(opened(self.pipe.events()))
    }

    /// What has been asked for and complained of since the page was opened.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn since(&mut self) -> Result<Opened, Error> {
        self.evaluate("1")?;
        Ok(opened(self.pipe.events()))
    }

    /// The value of an expression on the page; of a promise, what comes of it.
    ///
    /// # Errors
    /// When the browser does not answer, or the expression throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value, Error> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", asked)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(Error::Broken(thrown.to_string())),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Presses a key, such as `Tab`.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn press(&mut self, key: &str, code: u32) -> Result<(), Error> {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == "Enter" { "\r" } else { "" };
            let event = json!({
                "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code,
            });
            self.call("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    /// Takes a picture of the whole page.
    ///
    /// # Errors
    /// When the browser does not answer, or the file cannot be written.
    pub fn picture(&mut self, file: &Path) -> Result<(), Error> {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let taken = self.call("Page.captureScreenshot", whole)?;
        let broken = |error: &dyn std::error::Error| Error::Broken(error.to_string());
        let bytes = STANDARD.decode(taken["data"].as_str().unwrap_or_default());
        let bytes = bytes.map_err(|error| broken(&error))?;
        std::fs::write(file, bytes).map_err(|error| broken(&error))
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value, Error> {
        self.pipe.call(Some(&self.session), method, params)
    }
}

fn opened(events: &[Value]) -> Opened {
    let mut opened = Opened::default();
    for event in events {
        let params = &event["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => opened.requests.push(text(&params["request"]["url"])),
            "Network.responseReceived" if params["type"] == "Document" => {
                opened.code = params["response"]["status"].as_u64().unwrap_or_default();
            }
            "Network.loadingFailed" if params["canceled"] != true => {
                opened.complaints.push(params.to_string());
            }
            "Log.entryAdded" if params["entry"]["level"] != "verbose" => {
                opened.complaints.push(params["entry"].to_string());
            }
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => {
                opened.complaints.push(params.to_string());
            }
            _ => {}
        }
    }
    opened
}
