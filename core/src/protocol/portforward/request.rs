//! The upgrade request of a port-forward.
//!
//! Lives here: its path and query. Never here: the handshake's own headers, who sends it.

use std::num::NonZeroU16;

use http::Request;

use crate::protocol::error::ProtocolError;
use crate::protocol::request::{PodRef, get, pod_path};

/// Returns the upgrade request, without the handshake's own headers.
///
/// The one port is for `v4`, whose server dials it at once; the tunnel has no use for it. Both can be
/// offered with it, and an old server answers with `v4`.
///
/// # Errors
/// `UnusableRequest` when the names are longer than a request may be.
pub fn portforward(pod: &PodRef, port: NonZeroU16) -> Result<Request<()>, ProtocolError> {
    get(
        &pod_path(pod, "portforward"),
        &[("ports", &port.to_string())],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_one_port() {
        let pod = PodRef::new("default", "web-0");
        let request = portforward(&pod, NonZeroU16::new(8080).unwrap()).unwrap();
        let target = "/api/v1/namespaces/default/pods/web-0/portforward?ports=8080";
        assert_eq!(request.uri(), target);
    }
}
