//! The real binary against the embedded cluster: faults, bad input, this machine's own troubles, and
//! kubectl beside it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the helpers of tests are tests too, and a skipped judge is announced"
)]

mod attach;
mod bad_input;
mod cuts;
mod faults;
mod flags;
mod forward;
mod hops;
mod judge;
mod local;
mod log_scenarios;
mod logs;
mod memory;
mod pauses;
#[path = "../../../tests/suite/scenario.rs"]
mod scenario;
mod scenarios;
mod side_by_side;
mod support;

#[test]
fn kubectl_and_wsx_agree_on_the_embedded_cluster() {
    side_by_side("exec.json");
}

#[test]
fn kubectl_and_wsx_agree_on_logs() {
    side_by_side("kubectl-logs.json");
}

fn side_by_side(file: &str) {
    match wsx_tests::kubectl::find() {
        Some(kubectl) => {
            let cluster = support::cluster();
            let v5 = side_by_side::V5::Has;
            side_by_side::compare_file(file, "embedded", v5, cluster.kubeconfig(), &kubectl);
        }
        None => println!("SKIPPED: no kubectl on PATH to stand beside wsx"),
    }
}

/// The embedded cluster behind real intermediaries; `judge` has the real one behind them.
mod behind {
    use crate::hops::{self, Upstream};
    use crate::support;

    fn embedded(test: fn(&Upstream)) {
        let cluster = support::cluster();
        test(&Upstream {
            address: cluster.address("v1.35"),
            kubeconfig: cluster.kubeconfig().to_owned(),
            token: cluster.token("admin"),
        });
    }

    #[test]
    fn nginx_with_the_upgrade_lines() {
        embedded(hops::nginx_with_the_upgrade_lines);
    }

    #[test]
    fn nginx_without_the_upgrade_lines() {
        embedded(hops::nginx_without_the_upgrade_lines);
    }

    #[test]
    fn haproxy_with_a_short_tunnel_timeout() {
        embedded(hops::haproxy_with_a_short_tunnel_timeout);
    }

    #[test]
    fn squid_as_connect_proxy() {
        embedded(hops::squid_as_connect_proxy);
    }

    #[test]
    fn squid_and_networks_in_no_proxy() {
        embedded(hops::squid_and_networks_in_no_proxy);
    }

    #[test]
    fn tunnel_of_yamux() {
        embedded(hops::tunnel_of_yamux);
    }
}
