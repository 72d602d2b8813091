//! A client that writes only while this process leads. The check is made before each request, and
//! a request that is under way when the tenure ends is given up, with time to spare before another
//! may lead.

use std::pin::Pin;
use std::task::{Context, Poll};

use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{BoxError, Layer, Service};

use super::Tenure;

/// The client. It does not repeat what fails: whoever wrote looks anew at what is to be written.
///
/// # Errors
/// When the configuration is of no use.
pub fn fenced(mut config: Config, tenure: Tenure) -> kube::Result<Client> {
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&Fence(tenure)).build())
}

/// What goes around a service that sends, so that it does only while this tenure lasts.
#[derive(Clone, Debug)]
pub struct Fence(pub Tenure);

/// A service with the fence around it.
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    inner: S,
    tenure: Tenure,
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced {
            inner,
            tenure: self.0.clone(),
        }
    }
}

impl<S> Service<axum::http::Request<Body>> for Fenced<S>
where
    S: Service<axum::http::Request<Body>, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: axum::http::Request<Body>) -> Self::Future {
        if !self.tenure.is_held() {
            return Box::pin(async { Err(NOT_LEADING.into()) });
        }
        let tenure = self.tenure.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = Box::pin(answer);
            loop {
                // After a pause the end is seen before anything else goes on.
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(tenure.end()) => {
                        if !tenure.is_held() {
                            return Err(NOT_LEADING.into());
                        }
                    }
                    answer = &mut answer => return answer,
                }
            }
        })
    }
}

const NOT_LEADING: &str = "another controller may decide by now";
