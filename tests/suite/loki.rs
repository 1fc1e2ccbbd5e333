//! Loki's messages, errors and times by their vectors.

use serde_json::{Value, json};
use wsx_core::protocol::loki::{
    Decoder, Ending, Entry, Labels, LokiError, Place, RangeRequest, Retry, TailRequest, position,
    time,
};

/// Runs one case of `loki.json`.
pub(crate) fn loki(input: &Value) -> Result<Value, &'static str> {
    let text = |name: &str| input.get(name).map(|text| text.as_str().unwrap());
    if let Some(message) = text("tail") {
        let read = Decoder::default().tail(message.as_bytes()).map_err(kind)?;
        let dropped = read
            .dropped
            .map(|dropped| json!([dropped.count, dropped.from, dropped.to]));
        return Ok(json!({ "entries": entries(&read.entries), "dropped": dropped }));
    }
    if let Some(body) = text("range") {
        return Ok(entries(
            &Decoder::default().range(body.as_bytes()).map_err(kind)?,
        ));
    }
    if let Some(since) = text("since") {
        let since = time::since(since).map_err(|_| "invalid")?;
        return Ok(json!(since.as_nanos() as u64));
    }
    if let Some(from) = text("from") {
        return time::from(from).map(Value::from).map_err(|_| "invalid");
    }
    if let Some(parts) = input.get("close") {
        let code = parts[0].as_u64().unwrap() as u16;
        return Ok(ending(Ending::of_close(code, parts[1].as_str().unwrap())));
    }
    if let Some(parts) = input.get("http") {
        let (status, body) = (
            parts[0].as_u64().unwrap() as u16,
            parts[1].as_str().unwrap(),
        );
        let mut told = ending(Ending::of_status(status, body));
        if let Some((line, column)) = position(body) {
            told["position"] = json!([line, column]);
        }
        return Ok(told);
    }
    let asked = &input["ask"];
    let number = |name: &str| asked[name].as_i64().unwrap();
    let query = asked["query"].as_str().unwrap();
    let place = Place::new(asked["prefix"].as_str().unwrap_or_default(), None);
    let request = match asked.get("end") {
        Some(_) => RangeRequest::new(
            query,
            number("start"),
            number("end"),
            number("limit") as u32,
        )
        .request(&place),
        None => TailRequest::new(query, number("start"), number("limit") as u32)
            .delay_for(asked["delay_for"].as_u64().unwrap_or_default() as u8)
            .request(&place),
    };
    request
        .map(|request| json!(request.uri().to_string()))
        .map_err(|_| "invalid")
}

fn entries(entries: &[Entry]) -> Value {
    let labels = |labels: &Labels| {
        labels
            .iter()
            .map(|(name, value)| json!([name, value]))
            .collect::<Value>()
    };
    entries
        .iter()
        .map(|entry| {
            let mut told = json!([entry.timestamp_ns, entry.line, labels(&entry.labels)]);
            if !(entry.metadata.is_empty() && entry.parsed.is_empty()) {
                let list = told.as_array_mut().unwrap();
                list.extend([labels(&entry.metadata), labels(&entry.parsed)]);
            }
            told
        })
        .collect()
}

fn kind(error: LokiError) -> &'static str {
    match error {
        LokiError::NotLines(_) => "invalid",
        _ => "protocol",
    }
}

fn ending(ending: Ending) -> Value {
    let retry = match ending.retry() {
        Retry::AtOnce => "at once",
        Retry::BackOff => "back-off",
        Retry::Never => "never",
        Retry::Slowly => "slowly",
        other => panic!("no word for {other:?}"),
    };
    let name = match ending {
        Ending::Limit(limit) => {
            let (allowed, setting) = (limit.allowed, limit.setting);
            return json!({ "is": "limit", "setting": setting, "allowed": allowed, "retry": retry });
        }
        Ending::Planned => "planned",
        Ending::QueryLost => "query lost",
        Ending::Refused => "refused",
        Ending::Tenant => "tenant",
        Ending::Transient => "transient",
        Ending::UpgradeStripped => "upgrade stripped",
        other => panic!("no word for {other:?}"),
    };
    json!({ "is": name, "retry": retry })
}
