//! nijimi, with the same weights in f32.

use nijimi_runtime::gguf::{Array, File, MetaValue, Value, ValueType, Writer};
use nijimi_runtime::model::{Diffusion, Session, SessionOptions};
use nijimi_runtime::quant::DType;
use std::error::Error;

/// The model's file with all weights in f32: nijimi's CPU backend rounds activations too if weights are quantized, burn
/// does not.
pub fn in_f32(file: &File) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut writer = Writer::new();
    for (key, value) in file.metadata() {
        match key {
            "general.alignment" => (),
            "general.file_type" => writer.meta(key, DType::F32.file_type())?,
            _ => writer.meta(key, owned(&value).ok_or_else(|| format!("{key} is of an unknown type"))?)?,
        }
    }
    for tensor in file.tensors() {
        writer.tensor(tensor.name, &tensor.shape(), DType::F32, &tensor.to_f32())?;
    }
    Ok(writer.finish())
}

/// A session for one evaluation at a time.
pub fn session(pipeline: &Diffusion, batch: usize) -> Result<Session, Box<dyn Error>> {
    Ok(pipeline.session(&SessionOptions { batch, guidance: false, ..SessionOptions::default() })?)
}

fn owned(value: &Value) -> Option<MetaValue> {
    Some(match value {
        Value::U32(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::F32(v) => (*v).into(),
        Value::F64(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::Str(v) => (*v).into(),
        Value::Array(a) => match a.kind() {
            ValueType::U32 => list(a, |v| if let Value::U32(v) = v { Some(v) } else { None }),
            ValueType::F32 => list(a, |v| if let Value::F32(v) = v { Some(v) } else { None }),
            ValueType::Str => list(a, |v| if let Value::Str(v) = v { Some(v.to_owned()) } else { None }),
            _ => return None,
        },
        _ => return None,
    })
}

fn list<'a, T>(array: &Array<'a>, of_kind: impl Fn(Value<'a>) -> Option<T>) -> MetaValue
where
    MetaValue: From<Vec<T>>,
{
    array.iter().filter_map(of_kind).collect::<Vec<T>>().into()
}
