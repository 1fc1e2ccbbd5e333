//! What tests/real/README.md says about the lines side by side, against the file of these lines.

use std::fs;
use std::path::Path;

use serde_json::Value;

fn read(file: &str) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    fs::read_to_string(tests.join(file)).unwrap()
}

/// The cells of the lines of the table under this head.
fn table(readme: &str, head: &str) -> Vec<Vec<String>> {
    let (_, rest) = readme.split_once(head).unwrap();
    let lines = rest
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    lines.map(cells).collect()
}

#[test]
fn the_readme_counts_the_lines_side_by_side() {
    let scenarios: Value = serde_json::from_str(&read("scenarios/exec.json")).unwrap();
    let cases = scenarios["cases"].as_array().unwrap();
    let without = |kind: &str| cases.iter().filter(|case| case["only"] != kind).count();
    let differ = cases.iter().filter(|case| case.get("differs").is_some());
    let counted = [without("embedded"), without("real"), differ.count()];

    let readme = read("real/README.md");
    let mut rows = table(&readme, "| subject | real | embedded | of them differ |\n");
    let numbers = |row: &Vec<String>| [1, 2, 3].map(|cell| row[cell].parse::<usize>().unwrap());
    let all = rows.pop().unwrap();
    let sum = rows.iter().map(numbers).fold([0; 3], |sum, row| {
        [sum[0] + row[0], sum[1] + row[1], sum[2] + row[2]]
    });
    assert_eq!((sum, numbers(&all)), (counted, counted));
    assert!(readme.contains(&format!("has {} command lines", cases.len())));
}

#[test]
fn the_readme_counts_the_lines_of_logs_and_attach() {
    let readme = read("real/README.md");
    for file in ["kubectl-logs-real.json", "kubectl-attach.json"] {
        let scenarios: Value = serde_json::from_str(&read(&format!("scenarios/{file}"))).unwrap();
        let cases = scenarios["cases"].as_array().unwrap();
        let differ = cases.iter().filter(|case| case.get("differs").is_some());
        let row = format!("| `{file}` | {} | {} |", cases.len(), differ.count());
        assert!(readme.contains(&row), "no {row}");
    }
}

#[test]
fn the_readme_names_every_declared_difference() {
    let scenarios: Value = serde_json::from_str(&read("scenarios/exec.json")).unwrap();
    let mut declared = Vec::new();
    for case in scenarios["cases"].as_array().unwrap() {
        for (key, where_) in [("differs", ""), ("differs_without_v5", ", without v5")] {
            let Some(differs) = case.get(key) else {
                continue;
            };
            let exit = differs["exit"].as_array();
            let exit = exit.map(|exit| format!("exit {}, {}", exit[0], exit[1]));
            let words = (differs["stderr"] == true).then(|| "words".to_owned());
            let what: Vec<_> = exit.into_iter().chain(words).collect();
            declared.push(vec![
                format!("{}{where_}", case["name"].as_str().unwrap()),
                what.join("; "),
                differs["why"].as_str().unwrap().to_owned(),
            ]);
        }
    }
    let readme = read("real/README.md");
    assert_eq!(
        table(&readme, "| differs | kubectl, wsx | why |\n"),
        declared
    );
}
