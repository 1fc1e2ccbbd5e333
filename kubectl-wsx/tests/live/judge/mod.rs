//! Real Kubernetes as the judge: kubectl and wsx against the real API server and the real kubelet.
//!
//! `make judge` builds the fixture (tests/real) and runs this.

pub(crate) mod fixture;
mod forward;
mod logs;
mod loss;
mod raw;
mod readme;
mod start;

use self::fixture::{Fixture, Translate};
use crate::hops::{self, Upstream};
use crate::local;
use crate::side_by_side::{self, V5};

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn kubectl_and_wsx_agree_on_real_kubernetes() {
    let Some(fixture) = Fixture::start(Translate::Kubelet) else {
        return;
    };
    side_by_side::compare_all("real", V5::Has, &fixture.kubeconfig, &fixture.kubectl);
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn kubectl_and_wsx_agree_where_the_api_server_translates() {
    let Some(fixture) = Fixture::start(Translate::ApiServer) else {
        return;
    };
    side_by_side::compare_all("real", V5::Has, &fixture.kubeconfig, &fixture.kubectl);
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn kubectl_and_wsx_agree_where_nobody_translates() {
    let Some(fixture) = Fixture::start(Translate::Nobody) else {
        return;
    };
    side_by_side::compare_all("real", V5::Lacks, &fixture.kubeconfig, &fixture.kubectl);
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn a_terminal_of_the_real_kubelet_has_its_size() {
    let Some(fixture) = Fixture::start(Translate::Kubelet) else {
        return;
    };
    local::sized_terminal(&fixture.kubeconfig);
}

/// All of them before the real API server, one after the other: it is started once.
#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn intermediaries_before_the_real_api_server() {
    let Some(fixture) = Fixture::start(Translate::Kubelet) else {
        return;
    };
    let upstream = Upstream {
        address: fixture.address(),
        kubeconfig: fixture.kubeconfig.clone(),
        token: fixture.token("full"),
    };
    for test in [
        hops::nginx_with_the_upgrade_lines,
        hops::nginx_without_the_upgrade_lines,
        hops::haproxy_with_a_short_tunnel_timeout,
        hops::squid_as_connect_proxy,
        hops::squid_and_networks_in_no_proxy,
        hops::tunnel_of_yamux,
    ] {
        test(&upstream);
    }
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn the_truth_under_loss() {
    loss::table();
}
