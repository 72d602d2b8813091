//! Who has a token, as the API server says.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::Client;
use kube::api::{Api, PostParams};

/// No token is longer.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Whose token it is; `None` where the API server does not know it. With an audience it has to be a token
/// that was made for that, and not for the API server itself.
///
/// # Errors
/// When the API server does not answer.
pub async fn of_token(
    client: &Client,
    token: &str,
    audience: Option<&str>,
) -> kube::Result<Option<UserInfo>> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Ok(None);
    }
    let question = TokenReview {
        spec: TokenReviewSpec {
            token: token.to_owned(),
            audiences: audience.map(|audience| vec![audience.to_owned()]),
        },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &question).await?;
    let status = answer.status.unwrap_or_default();
    let named = status.audiences.unwrap_or_default();
    // An API server that knows nothing of audiences names none.
    let is_for_us = audience.is_none_or(|audience| named.iter().any(|named| named == audience));
    let is_known = status.authenticated == Some(true) && is_for_us;
    Ok(status.user.filter(|_| is_known))
}
