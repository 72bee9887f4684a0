//! Opens untrusted bytes and uses every accessor; shared with the fuzz target. It must not panic, whatever the bytes.

use nijimi_runtime::gguf::{ALIGNMENT_KEY, File, Value};

/// Whether `bytes` are a file; if so, every accessor was used and what it gave was found consistent.
pub fn touch(bytes: &[u8]) -> bool {
    let file = match File::new_checked(bytes) {
        Ok(file) => file,
        Err(error) => {
            assert!(error.to_string().len() < 1500, "a message must stay short");
            return false;
        }
    };
    let alignment = file.alignment();
    assert!(alignment.is_power_of_two());
    assert!(file.get(ALIGNMENT_KEY).is_none_or(|v| v == Value::U32(alignment)));
    for (key, value) in file.metadata() {
        touch_value(&file, key, value);
    }
    let mut used = 0;
    for tensor in file.tensors() {
        assert_eq!(file.tensor(tensor.name).as_ref(), Ok(&tensor));
        assert!((1..=4).contains(&tensor.n_dims));
        assert!(tensor.ne.iter().all(|&n| n > 0));
        let elements = tensor.elements();
        assert_eq!(tensor.ne.iter().product::<u64>(), elements as u64);
        assert_eq!(tensor.shape().iter().product::<usize>(), elements);
        assert_eq!(tensor.dtype.row_bytes(elements), Some(tensor.data.len()));
        assert_eq!(tensor.to_f32().len(), elements);
        let at = tensor.data.as_ptr() as usize - bytes.as_ptr() as usize;
        assert!(at.is_multiple_of(alignment as usize));
        assert!(at + tensor.data.len() <= bytes.len());
        used += tensor.data.len();
    }
    assert!(used <= bytes.len(), "tensors must not share bytes");
    assert!(file.get("no such key").is_none() && file.tensor("no such tensor").is_err());
    true
}

fn touch_value(file: &File<'_>, key: &str, value: Value<'_>) {
    // Compared as text: NaN does not equal itself.
    let text = format!("{value:?}");
    assert_eq!(file.get(key).map(|v| format!("{v:?}")), Some(text));
    assert!(!value.to_string().is_empty());
    let kind = value.kind().name();
    let typed = [
        ("str", file.str(key).is_ok()),
        ("u32", file.u32(key).is_ok()),
        ("u64", file.u64(key).is_ok()),
        ("i32", file.i32(key).is_ok()),
        ("f32", file.f32(key).is_ok()),
        ("f64", file.f64(key).is_ok()),
        ("bool", file.bool(key).is_ok()),
    ];
    for (name, ok) in typed {
        assert_eq!(ok, name == kind, "{key}");
    }
    let lists = [
        ("u32", file.u32s(key).map(|v| v.len())),
        ("f32", file.f32s(key).map(|v| v.len())),
        ("f64", file.f64s(key).map(|v| v.len())),
        ("str", file.strs(key).map(|v| v.len())),
    ];
    if let Value::Array(array) = value {
        assert_eq!(array.iter().count(), array.len());
        assert_eq!(array.is_empty(), array.iter().next().is_none());
        assert!(array.iter().all(|v| v.kind() == array.kind()));
        for (name, len) in lists {
            assert_eq!(len.ok(), (name == array.kind().name()).then_some(array.len()), "{key}");
        }
    } else {
        assert!(lists.iter().all(|(_, len)| len.is_err()));
    }
}
