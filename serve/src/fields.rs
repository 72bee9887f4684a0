//! The fields of a request: each is obeyed, of no consequence, or refused by its name.

use crate::refusal::Refusal;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// What has not been looked at yet. A field that is `null` is as good as none.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Of a body of JSON.
    pub fn of_json(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(Refusal::usage("the body is JSON, but no object: send {\"prompt\": ...}")),
            Err(e) => Err(Refusal::usage(format!("the body is no JSON: {e}"))),
        }
    }

    /// Of a form's texts, whose numbers are written out.
    pub fn of_form(texts: Vec<(String, String)>) -> Result<Self, Refusal> {
        let mut map = Map::new();
        for (name, text) in texts {
            if map.insert(name.clone(), Value::String(text)).is_some() {
                return Err(Refusal::field(&name, "given twice: give it once"));
            }
        }
        Ok(Self(map))
    }

    /// All of them, but for these.
    pub fn without(&self, names: &[&str]) -> Map<String, Value> {
        self.0.iter().filter(|(name, _)| !names.contains(&name.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text of at most so many bytes.
    pub fn text(&mut self, name: &str, most: usize) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() > most => {
                Err(Refusal::field(name, format!("it has {} bytes, and at most {most} are read", text.len())))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::field(name, "must be a text")),
        }
    }

    /// A short text: a name.
    pub fn name(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        self.text(name, 256)
    }

    /// A whole number within a range.
    pub fn count(&mut self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = match &value {
            Value::String(text) => text.trim().parse().ok(),
            // Some clients write whole numbers as 20.0.
            value => {
                value.as_u64().or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64))
            }
        };
        let found = number.and_then(|n| usize::try_from(n).ok()).filter(|n| range.contains(n));
        let wrong = || format!("must be a whole number from {} to {}", range.start(), range.end());
        found.map(Some).ok_or_else(|| Refusal::field(name, wrong()))
    }

    /// A finite number.
    pub fn number(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = if let Value::String(text) = &value { text.trim().parse().ok() } else { value.as_f64() };
        let number = number.filter(|x: &f64| x.is_finite() && x.abs() < 1e30);
        number.map(Some).ok_or_else(|| Refusal::field(name, "must be a finite number"))
    }

    /// A part of a whole.
    pub fn share(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        match self.number(name)? {
            Some(x) if !(0.0..=1.0).contains(&x) => Err(Refusal::field(name, "must be a number from 0 to 1")),
            x => Ok(x),
        }
    }

    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(Refusal::field(name, "must be true or false")),
        }
    }

    /// A seed; none, and what is negative, is a random one.
    pub fn seed(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = if let Value::String(text) = value { text } else { value.to_string() };
        let text = text.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refusal::field(name, "must be a whole number, or -1 for a random one"));
        }
        if text.starts_with('-') {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| Refusal::field(name, format!("must be at most {}", u64::MAX)))
    }

    /// A field of which only some values can be obeyed.
    pub fn only(&mut self, name: &str, possible: &[Value]) -> Result<(), Refusal> {
        match self.take(name) {
            Some(value) if !possible.iter().any(|known| same(known, &value)) => {
                let known: Vec<String> = possible.iter().map(Value::to_string).collect();
                let known =
                    if known.is_empty() { "leave it out".into() } else { format!("possible: {}", known.join(", ")) };
                Err(Refusal::field(name, format!("this value is not supported: {known}")))
            }
            _ => Ok(()),
        }
    }

    /// Fields of no consequence for a picture.
    pub fn pass(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.0.remove(*name)));
    }

    /// That nothing is left: what is not known is not passed over.
    pub fn finish(self) -> Result<(), Refusal> {
        match self.0.into_iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => {
                let shown: String = name.chars().take(64).collect();
                Err(Refusal::field(&shown, "this field is not known, or not supported: leave it out"))
            }
            None => Ok(()),
        }
    }
}

/// Equal, 1 and 1.0 being the same; of a form, also by what is written.
fn same(a: &Value, b: &Value) -> bool {
    let written = || b.as_str().and_then(|b| serde_json::from_str::<Value>(b).ok());
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b) || written().is_some_and(|b| *a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: &Value) -> Fields {
        Fields::of_json(value.to_string().as_bytes()).unwrap()
    }

    /// Whatever is out of range, of another type or not known has its name in the answer.
    // Seen red: unknown fields passed over.
    #[test]
    fn what_cannot_be_obeyed_is_refused_by_name() {
        let mut good =
            fields(&json!({ "n": 2.0, "s": "x", "seed": u64::MAX, "t": -1, "f": true, "x": 0.5, "no": null }));
        assert_eq!((good.count("n", 1..=4), good.text("s", 1)), (Ok(Some(2)), Ok(Some("x".into()))));
        assert_eq!((good.seed("seed"), good.seed("t")), (Ok(Some(u64::MAX)), Ok(None)));
        assert_eq!((good.flag("f"), good.share("x"), good.name("none")), (Ok(Some(true)), Ok(Some(0.5)), Ok(None)));
        good.finish().unwrap();
        let wrong = |value: Value, read: fn(&mut Fields) -> Result<(), Refusal>| {
            let refusal = read(&mut fields(&json!({ "it": value.clone() }))).expect_err(&value.to_string());
            assert!(
                matches!(&refusal, Refusal::Usage(Some(field), m) if field == "it" && m.starts_with("it: ")),
                "{refusal:?}"
            );
        };
        for value in [json!(0), json!(5), json!(1.5), json!("many"), json!([]), json!(-1), json!(1e300), json!(true)] {
            wrong(value, |f| f.count("it", 1..=4).map(drop));
        }
        for value in [json!(1.5), json!("x"), json!("18446744073709551616"), json!({}), json!("-"), json!(1e30)] {
            wrong(value, |f| f.seed("it").map(drop));
        }
        for value in [json!("inf"), json!("nan"), json!(1e300), json!([1])] {
            wrong(value, |f| f.number("it").map(drop));
        }
        for value in [json!(1), json!("yes"), json!({})] {
            wrong(value, |f| f.flag("it").map(drop));
        }
        wrong(json!("long"), |f| f.text("it", 3).map(drop));
        wrong(json!(1.01), |f| f.share("it").map(drop));
        wrong(json!(2), |f| f.only("it", &[json!(0), json!(1.0)]));
        assert!(fields(&json!({ "it": 1 })).only("it", &[json!(1.0)]).is_ok());
        assert!(fields(&json!({ "unknown": 1 })).finish().is_err());
        for body in ["", "[]", "1", "{", "{\"a\":}", &"[".repeat(100_000)] {
            assert!(matches!(Fields::of_json(body.as_bytes()), Err(Refusal::Usage(None, _))), "{body:.9}");
        }
    }
}
