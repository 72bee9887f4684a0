//! The same file with weights of another type: metadata is copied, every tensor encoded anew.
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::export::weight_type;
use crate::target;
use nijimi_import::Types;
use nijimi_runtime::gguf::{File, MappedFile, MetaValue, Value, ValueType, Writer};
use nijimi_runtime::model::FirstStage;
use nijimi_runtime::quant::DType;
use std::path::Path;

/// A metadata value as the writer takes it.
fn owned(key: &str, value: &Value) -> Result<MetaValue> {
    Ok(match value {
        Value::U32(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::F32(v) => (*v).into(),
        Value::F64(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::Str(v) => (*v).into(),
        Value::Array(a) if a.kind() == ValueType::U32 => {
            a.iter().filter_map(|v| if let Value::U32(v) = v { Some(v) } else { None }).collect::<Vec<u32>>().into()
        }
        Value::Array(a) if a.kind() == ValueType::F32 => {
            a.iter().filter_map(|v| if let Value::F32(v) = v { Some(v) } else { None }).collect::<Vec<f32>>().into()
        }
        Value::Array(a) if a.kind() == ValueType::Str => {
            let list = a.iter().filter_map(|v| if let Value::Str(v) = v { Some(v.to_owned()) } else { None });
            list.collect::<Vec<String>>().into()
        }
        other => {
            let what = format!("metadata {key} is of type {:?}, which nijimi does not write", other.kind());
            return Err(Error::File(what));
        }
    })
}

/// Whether a tensor is a weight that is stored in the wanted type; biases and the label table stay f32.
fn is_weight(name: &str) -> bool {
    name.ends_with(".weight") && name != crate::nn::book_unet::LABEL_EMB
}

/// Reads `input` (best one with f32 weights: what is lost there stays lost) and writes `output` with weights of type `dtype`.
///
/// # Errors
/// If `input` is not a nijimi file, or a value does not fit the type.
pub fn quantize(input: &Path, output: &Path, dtype: DType) -> Result<()> {
    target::prove(&[("--out", output)], &[("-m", input)])?;
    let refused = |e: &dyn std::fmt::Display| Error::data(input, e.to_string());
    let mapped = MappedFile::open(input).map_err(|e| refused(&e))?;
    let file = File::new_checked(mapped.bytes()).map_err(|e| refused(&e))?;
    let mut w = Writer::new();
    for (key, value) in file.metadata() {
        if key == "general.file_type" {
            w.meta(key, dtype.file_type())?;
        } else if key != "general.alignment" {
            w.meta(key, owned(key, &value)?)?;
        }
    }
    // Large networks of many layers have rules of their own.
    let latent = ["latent-diffusion", FirstStage::SYSTEM].iter().any(|system| file.str("nijimi.system") == Ok(system));
    let types = Types::new(dtype);
    for t in file.tensors() {
        let shape = t.shape();
        let dtype = match (latent, is_weight(t.name)) {
            (true, _) => types.of(t.name, &shape),
            (false, true) => weight_type(&shape, dtype),
            (false, false) => DType::F32,
        };
        w.tensor(t.name, &shape, dtype, &t.to_f32())?;
    }
    write_atomic(output, &w.finish())
}
