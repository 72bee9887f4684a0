//! Small files that the writer produces; the corpus of the fuzz target is these.

use super::Numbers;
use nijimi_runtime::gguf::{MetaValue, Writer};
use nijimi_runtime::quant::DType;

/// Every kind of metadata that is written, by key.
pub fn all_metadata() -> Vec<(&'static str, MetaValue)> {
    let strings = |list: &[&str]| MetaValue::from(list);
    vec![
        ("general.architecture", "nijimi".into()),
        ("test.u32", u32::MAX.into()),
        ("test.u64", u64::MAX.into()),
        ("test.i32", i32::MIN.into()),
        ("test.f32", 0.1f32.into()),
        ("test.f64", 0.02f64.into()),
        ("test.true", true.into()),
        ("test.false", false.into()),
        ("test.text", "zw\u{f6}lf Boxk\u{e4}mpfer \u{1f58c}".into()),
        ("test.empty_text", "".into()),
        ("test.u8s", vec![0u8, 7, 255].into()),
        ("test.u32s", vec![64u32, 128, 256].into()),
        ("test.f32s", vec![0.0f32, 1.0, -1.5e-9].into()),
        ("test.f64s", vec![0.1f64, -2.5e-300, 1.0].into()),
        ("test.strs", strings(&["zero", "", "\u{4e8c}"])),
        ("test.no_u32s", Vec::<u32>::new().into()),
        ("test.no_strs", strings(&[])),
    ]
}

/// One tensor of each format, of one to four dimensions: name, row-major shape, format, values.
pub fn all_tensors() -> Vec<(String, Vec<usize>, DType, Vec<f32>)> {
    let mut numbers = Numbers(7);
    let shapes: [&[usize]; 8] = [&[5], &[3, 2], &[2, 1, 3, 32], &[3, 2, 64], &[256], &[2, 256], &[1, 512], &[2, 7]];
    let tensors = DType::ALL.into_iter().zip(shapes).map(|(dtype, shape)| {
        let data = numbers.units(shape.iter().product());
        (format!("{dtype}.weight"), shape.to_vec(), dtype, data)
    });
    tensors.collect()
}

/// Each seed with its file name.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty.gguf", Writer::new().finish()),
        ("metadata.gguf", file(true, false)),
        ("tensors.gguf", file(false, true)),
        ("all.gguf", file(true, true)),
        ("unet.gguf", small_unet()),
    ]
}

/// A file of [`all_metadata`] and/or [`all_tensors`].
pub fn file(metadata: bool, tensors: bool) -> Vec<u8> {
    let mut writer = Writer::new();
    for (key, value) in all_metadata().into_iter().filter(|_| metadata) {
        writer.meta(key, value).unwrap();
    }
    for (name, shape, dtype, data) in all_tensors().into_iter().filter(|_| tensors) {
        writer.tensor(&name, &shape, dtype, &data).unwrap();
    }
    writer.finish()
}

/// Keys and names as a trained model has them.
fn small_unet() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.meta("general.architecture", "nijimi").unwrap();
    writer.meta("general.file_type", DType::Q8_0.file_type()).unwrap();
    writer.meta("nijimi.format_version", 1u32).unwrap();
    writer.meta("nijimi.unet.channels", vec![32u32]).unwrap();
    writer.meta("nijimi.labels", MetaValue::from(&["0", "1"][..])).unwrap();
    writer.meta("nijimi.schedule.beta_end", 0.02f64).unwrap();
    let mut numbers = Numbers(3);
    writer.tensor("down1.convs.0.weight", &[2, 3, 3, 32], DType::Q8_0, &numbers.units(2 * 9 * 32)).unwrap();
    writer.tensor("down1.convs.0.bias", &[2], DType::F32, &numbers.units(2)).unwrap();
    writer.tensor("label_emb.weight", &[2, 100], DType::F16, &numbers.units(200)).unwrap();
    writer.finish()
}
