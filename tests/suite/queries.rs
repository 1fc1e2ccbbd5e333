//! Composed queries by their vectors, and the JavaScript for pages by the same ones.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wsx_core::protocol::query::{self, Composition, OnConflict, Policy, QueryError};

/// Runs one case of `queryargs.json`.
pub(crate) fn queryargs(input: &Value) -> Result<Value, &'static str> {
    let text = |name: &str| input.get(name).map(|text| text.as_str().unwrap());
    let number = |name: &str| input.get(name).map(|one| one.as_u64().unwrap() as usize);
    if let Some(target) = text("compose") {
        let mut options =
            Composition::default().padding(input.get("padding") != Some(&json!(false)));
        options.max_target = number("max_target").unwrap_or(options.max_target);
        return query::compose(target, &options)
            .map(Value::from)
            .map_err(kind);
    }
    if let Some(target) = text("normalize") {
        let target = query::normalize(target, Composition::default().max_target).map_err(kind)?;
        let header = target.split_once('?').map(|(_, query)| query);
        return Ok(json!({ "target": target, "header": header }));
    }
    if let Some(target) = text("clean") {
        return Ok(json!(query::clean(target)));
    }
    let list = |name: &str| {
        let list = input.get(name)?.as_array().unwrap().iter();
        Some(
            list.map(|one| one.as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let carriers = list("carriers").unwrap_or_else(|| vec!["header".into(), "path".into()]);
    let carries = |name: &str| carriers.iter().any(|carrier| carrier == name);
    let mut policy = Policy::default()
        .allow_paths(list("allow_paths"))
        .carriers(carries("header"), carries("path"))
        .on_conflict(match text("on_conflict") {
            None => OnConflict::default(),
            Some("composed") => OnConflict::Composed,
            Some("native") => OnConflict::Native,
            Some(other) => panic!("no word for {other}"),
        });
    policy.max_query = number("max_query").unwrap_or(policy.max_query);
    let header = text("header").map(str::as_bytes);
    let restored = query::decompose(text("decompose").unwrap(), header, &policy).map_err(kind)?;
    assert!(restored.via.answer().ends_with(restored.via.as_str()));
    Ok(json!({ "target": restored.target, "via": restored.via.as_str() }))
}

/// What a list of paths refuses is forbidden; all else is a request that says nothing usable.
fn kind(error: QueryError) -> &'static str {
    match error {
        QueryError::PathNotAllowed => "forbidden",
        _ => "invalid",
    }
}

#[test]
fn what_a_list_refuses_is_told_from_what_would_be_changed() {
    let policy = Policy::default().allow_paths(Some(vec!["/tail".to_owned()]));
    let refused = |target| query::decompose(target, None, &policy).unwrap_err();
    assert_eq!(refused("/push"), QueryError::PathNotAllowed);
    assert_eq!(
        refused("/x/../tail"),
        QueryError::Altered {
            what: "a segment of dots"
        }
    );
}

/// Runs all that the file composes through `docs/queryargs.js`: one array, null where it throws.
const COMPOSER: &str = "
    const { readFileSync } = require('node:fs');
    require('node:vm').runInThisContext(readFileSync(process.argv[1], 'utf8'));
    const { cases } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
    const composed = cases.filter(({ input }) => 'compose' in input).map(({ input }) => {
        const { compose, padding, max_target: maxTarget } = input;
        try { return composeQuery(compose, { padding, maxTarget }); } catch { return null; }
    });
    console.log(JSON.stringify(composed));
";

#[test]
fn the_javascript_for_pages_composes_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("vectors/queryargs.json");
    let mut node = Command::new("node");
    node.args(["-e", COMPOSER])
        .arg(root.join("../docs/queryargs.js"))
        .arg(&file);
    let output = match node.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            #[expect(
                clippy::disallowed_methods,
                reason = "what may be skipped is the machine's to say"
            )]
            let required = std::env::var("WSX_REQUIRE").unwrap_or_default();
            let required = required.split(',').any(|name| name == "node");
            assert!(!required, "WSX_REQUIRE names node, and it is not installed");
            // Past the capture of the test harness: a skipped judge must be seen.
            return std::io::stderr()
                .write_all(b"SKIPPED: no node on PATH\n")
                .unwrap();
        }
        output => output.unwrap(),
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let composed: Vec<Option<String>> = serde_json::from_slice(&output.stdout).unwrap();
    let vectors: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap().iter();
    let cases: Vec<_> = cases
        .filter(|case| case["input"]["compose"].is_string())
        .collect();
    assert_eq!(composed.len(), cases.len());
    for (composed, case) in composed.iter().zip(cases) {
        let expected = case.get("output").map(|output| output.as_str().unwrap());
        assert_eq!(composed.as_deref(), expected, "{}", case["name"]);
    }
}
