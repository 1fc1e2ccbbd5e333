//! The embedded cluster's watch of pods.

use serde_json::{Value, json};
use wsx_tests::cluster::Cluster;

use crate::logs::empty;
use crate::raw::{Event, Raw};
use crate::talk::{PODS, json as parsed};

fn get(cluster: &Cluster, query: &str) -> Value {
    let (status, page) = Raw::request(cluster, "plain", &format!("{PODS}?{query}"), &[]).page();
    assert_eq!(status, 200);
    parsed(&page)
}

fn watch(cluster: &Cluster, query: &str) -> Raw {
    let target = format!("{PODS}?watch=true&{query}");
    let mut raw = Raw::request(cluster, "plain", &target, &[]);
    assert_eq!(raw.answer().status, 200);
    raw
}

/// The type, and the object.
fn next(raw: &mut Raw) -> (String, Value) {
    let mut event = parsed(&raw.chunk().unwrap());
    (
        event["type"].as_str().unwrap().to_owned(),
        event["object"].take(),
    )
}

fn kind(raw: &mut Raw) -> (String, String) {
    let (kind, object) = next(raw);
    (
        kind,
        object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[test]
fn changes_come_as_events_after_the_list() {
    let (cluster, log) = empty();
    let list = get(&cluster, "labelSelector=app%3Down");
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut raw = watch(
        &cluster,
        &format!("labelSelector=app%3Down&resourceVersion={version}"),
    );
    log.run(json!({"restart": true}));
    let (kind_of, pod) = next(&mut raw);
    assert_eq!(
        (
            &*kind_of,
            &pod["status"]["containerStatuses"][0]["restartCount"]
        ),
        ("MODIFIED", &json!(1))
    );
    // Another pod joins, one that never fitted changes, one ceases to fit, one is deleted.
    let other = cluster.log("default", "own-1", "app");
    other.run(json!({"create": {"labels": {"app": "own"}}}));
    cluster
        .log("default", "web-0", "app")
        .run(json!({"restart": true}));
    log.run(json!({"labels": {"app": "else"}}));
    other.run(json!({"delete": true}));
    assert_eq!(kind(&mut raw), pair("ADDED", "own-1"));
    assert_eq!(kind(&mut raw), pair("DELETED", "own-0"));
    assert_eq!(kind(&mut raw), pair("DELETED", "own-1"));
    assert_eq!(get(&cluster, "labelSelector=app%3Down")["items"], json!([]));
    // Who has missed it all hears it again.
    let mut late = watch(
        &cluster,
        &format!("labelSelector=app%3Down&resourceVersion={version}"),
    );
    assert_eq!(kind(&mut late), pair("MODIFIED", "own-0"));
    assert_eq!(kind(&mut late), pair("ADDED", "own-1"));
}

#[test]
fn without_a_version_a_watch_begins_with_all_there_is() {
    let (cluster, log) = empty();
    let mut raw = watch(&cluster, "fieldSelector=metadata.name%3Down-0");
    assert_eq!(kind(&mut raw), pair("ADDED", "own-0"));
    log.run(json!({"replace": true}));
    assert_eq!(kind(&mut raw), pair("MODIFIED", "own-0"));
    log.run(json!({"exit": 0}));
    let (_, pod) = next(&mut raw);
    assert_eq!(pod["status"]["phase"], "Succeeded");
}

#[test]
fn bookmarks_and_errors_come_on_demand() {
    let (cluster, log) = empty();
    let selector = "labelSelector=app%3Down";
    let mut raw = watch(&cluster, selector);
    assert_eq!(kind(&mut raw), pair("ADDED", "own-0"));
    log.run(json!({"watch": "bookmark"}));
    let (kind_of, bookmark) = next(&mut raw);
    let version = bookmark["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(kind_of, "BOOKMARK");
    log.run(json!({"watch": "gone"}));
    let (kind_of, status) = next(&mut raw);
    assert_eq!((&*kind_of, &status["code"]), ("ERROR", &json!(410)));
    assert_eq!(raw.chunks(), (String::new(), None));
    // The version is too old from now on.
    let mut raw = watch(&cluster, &format!("{selector}&resourceVersion={version}"));
    assert_eq!(next(&mut raw).1["reason"], "Expired");
    let mut raw = watch(&cluster, selector);
    assert_eq!(kind(&mut raw), pair("ADDED", "own-0"));
    log.run(json!({"watch": "unauthorized"}));
    assert_eq!(next(&mut raw).1["code"], 401);
    for (how, end) in [
        ("fin", Some(Event::Eof)),
        ("rst", Some(Event::Reset)),
        ("eof-polite", None),
    ] {
        let mut raw = watch(&cluster, selector);
        assert_eq!(kind(&mut raw), pair("ADDED", "own-0"));
        log.run(json!({"watch": how}));
        assert_eq!(raw.chunks(), (String::new(), end), "{how}");
    }
}

#[test]
fn selectors_may_name_sets() {
    let (cluster, _log) = empty();
    let names = |selector: &str| {
        let list = get(&cluster, &format!("labelSelector={selector}"));
        let all = list["items"].as_array().unwrap().iter();
        all.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (selector, own, web) in [
        ("app%20in%20(own,other)", true, false),
        ("app%20in%20(web,%20own)", true, true),
        ("app%20notin%20(own,other)", false, true),
        ("app,app!=web", true, false),
        ("!app", false, false),
        ("!nothing,app%20in%20(web)", false, true),
    ] {
        let all = names(selector);
        let has = |name: &str| all.iter().any(|one| one == name);
        assert_eq!(
            (has("own-0"), has("web-0")),
            (own, web),
            "{selector}: {all:?}"
        );
    }
}
