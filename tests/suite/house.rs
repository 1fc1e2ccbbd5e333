//! The house checks its own plan, so that nobody has to remember it.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// All files below a folder, but for what is built.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true if matches!(&*name, "target" | "node_modules" | ".git" | ".venv") => {}
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    files(&root().join(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The lines of a file before its tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]")
}

#[test]
fn every_vector_file_is_read() {
    let readers = ["vectors.rs", "api.rs"]
        .map(|name| fs::read_to_string(root().join("tests/suite").join(name)).unwrap())
        .concat();
    for file in files(&root().join("tests/vectors")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(readers.contains(name), "the suite does not read {name}");
    }
}

#[test]
fn no_source_file_passes_the_wall() {
    for folder in ["core/src", "kubectl-wsx/src", "tests/src"] {
        for (path, text) in sources(folder) {
            let lines = code(&text).count();
            assert!(
                lines <= 600 || path.ends_with("process_tests.rs"),
                "{path:?}: {lines} lines"
            );
        }
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for folder in ["core/src", "kubectl-wsx/src", "tests/src", "tests/suite"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{path:?} has no opening line");
        }
    }
}

#[test]
fn floors_look_down_only() {
    const ROOF: &[&str] = &[
        "protocol::machine",
        "protocol::websocket",
        "session::driver",
    ];
    let fences = [
        (
            "core/src/protocol",
            &[
                "tokio::",
                "crate::session",
                "crate::client",
                "std::env",
                "std::time::Instant",
            ][..],
        ),
        ("core/src/session", &["crate::client", "kube::", "std::env"]),
        (
            "core/src/client",
            &["protocol::machine", "protocol::websocket"],
        ),
        ("bindings-node/src", ROOF),
        ("bindings-python/src", ROOF),
        ("kubectl-wsx/src", ROOF),
        ("tests/src", &["wsx_core"]),
    ];
    for (folder, forbidden) in fences {
        for (path, text) in sources(folder) {
            for (number, line) in code(&text).enumerate() {
                let line = line.split("//").next().unwrap();
                for word in forbidden {
                    assert!(!line.contains(word), "{path:?}:{}: {word}", number + 1);
                }
            }
        }
    }
}

#[test]
fn nothing_is_left_undone() {
    // Put together, so that this file does not name what it forbids.
    let marks =
        ["TO", "FIX"].map(|half| format!("{half}{}", if half == "TO" { "DO" } else { "ME" }));
    for folder in [
        "bindings-node/src",
        "bindings-python/src",
        "core",
        "kubectl-wsx",
        "tests",
    ] {
        for (path, text) in sources(folder) {
            for mark in &marks {
                assert!(!text.contains(mark.as_str()), "{path:?} holds a {mark}");
            }
        }
    }
}
