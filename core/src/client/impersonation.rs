//! Acting as somebody else: the four headers of impersonation.
//!
//! Lives here: client-go transport/round_trippers.go, in our words. Never here: where the wish comes from.

use http::{HeaderMap, HeaderName, HeaderValue};
use kube::config::AuthInfo;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::error::{Error, ErrorKind, Result};

/// Returns the headers of all that is to be acted as; none where nothing is.
///
/// # Errors
/// `Config` when there is no user, or something that no header can carry.
pub(super) fn headers(user: &AuthInfo) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let groups = user.impersonate_groups.as_deref().unwrap_or_default();
    let extra = user.impersonate_user_extra.iter().flatten();
    let uid = user
        .impersonate_uid
        .as_deref()
        .filter(|uid| !uid.is_empty());
    let Some(name) = user.impersonate.as_deref().filter(|name| !name.is_empty()) else {
        if uid.is_some() || !groups.is_empty() || extra.count() > 0 {
            return Err(Error::new(
                ErrorKind::Config,
                "requesting uid, groups or user-extra without impersonating a user",
            ));
        }
        return Ok(headers);
    };
    headers.append("impersonate-user", value("user", name)?);
    for group in groups {
        headers.append("impersonate-group", value("group", group)?);
    }
    if let Some(uid) = uid {
        headers.append("impersonate-uid", value("uid", uid)?);
    }
    for (key, values) in extra {
        let header = format!("impersonate-extra-{}", utf8_percent_encode(key, NOT_TOKEN));
        let header = HeaderName::try_from(header).map_err(|_| unusable("extra key", key))?;
        for text in values {
            let sent = HeaderValue::from_str(text).map_err(|_| {
                // Extras hold what a gateway vouches for, which may be a secret.
                let message =
                    format!("the value of extra {key:?} cannot be sent for impersonation");
                Error::new(ErrorKind::Config, message)
            })?;
            headers.append(header.clone(), sent);
        }
    }
    Ok(headers)
}

/// All that may not stand in a header name (RFC 9110, 5.6.2), and the percent sign.
const NOT_TOKEN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'(')
    .add(b')')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'{')
    .add(b'}');

fn value(what: &str, text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| unusable(what, text))
}

fn unusable(what: &str, text: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("the {what} {text:?} cannot be sent for impersonation"),
    )
}
