//! Upscalers: against the reference's formulas (`tests/fixtures/upscalers/rrdbnet.py`), in all namings, on the CPU and on a
//! device; pictures in tiles; what is refused.

#[path = "common/device.rs"]
#[cfg(feature = "gpu")]
mod device;
#[path = "common/diffusers.rs"]
mod diffusers;

use diffusers::Tensors;
use nijimi_import::{Checkpoint, ImportError, Options, Types, convert};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Model, SessionOptions, Upscaler};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::RrdbNet;
use nijimi_runtime::raw::rng::normal_fill;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One of the project's own; published ones, made by its `trained.py`, are where `NIJIMI_UPSCALERS` says.
fn fixture(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/upscalers");
    let folder = if name.starts_with("realesrgan") { trained().unwrap() } else { own };
    folder.join(format!("{name}.safetensors"))
}

fn trained() -> Option<PathBuf> {
    std::env::var_os("NIJIMI_UPSCALERS").map(PathBuf::from)
}

fn temporary(extension: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("nijimi-upscaler-{}-{n}.{extension}", std::process::id()))
}

/// The bytes of our file.
fn file(name: &str, dtype: DType) -> Vec<u8> {
    let checkpoint = Checkpoint::open(fixture(name), &Options::default()).unwrap();
    assert_eq!(checkpoint.model.system(), "upscaler");
    let path = temporary("gguf");
    convert(&checkpoint, &path, name, &Types::new(dtype), |_| {}).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    bytes
}

fn load(name: &str, device: &Device) -> Upscaler {
    Upscaler::load(&File::new_checked(&file(name, DType::F32)).unwrap(), device).unwrap()
}

/// A picture in [0, 1] without a pattern.
fn picture([height, width]: [usize; 2]) -> Vec<f32> {
    let mut values = vec![0.0; height * width * 3];
    normal_fill(9, 0, &mut values);
    values.iter().map(|v| (0.5 + 0.2 * v).clamp(0.0, 1.0)).collect()
}

/// The largest difference from the golden file `of`.
fn distance(model: &Upscaler, of: &str) -> f32 {
    let golden = Tensors::read(&fixture(&format!("{of}.golden")));
    let (picture, upscaled) = (golden.get("picture"), golden.get("upscaled"));
    let network = &model.info().network;
    let size = [picture.shape[0], picture.shape[1]];
    let input = network.unshuffled(&picture.values, size[1]);
    let options = SessionOptions { threads: 2, ..Default::default() };
    let mut evaluator = model.evaluator(size.map(|side| side / network.unshuffle), &options).unwrap();
    evaluator.evaluate(0, &[(RrdbNet::PICTURE, &input)], &[]).unwrap();
    let found = evaluator.output(RrdbNet::UPSCALED).unwrap();
    assert_eq!(found.len(), upscaled.values.len());
    found.iter().zip(&upscaled.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const NAMES: [(&str, &str); 4] = [("x4", "x4"), ("x4.trunk", "x4"), ("x4.sequence", "x4"), ("x2", "x2")];

/// Seen red with a slope of 0.1, with the residuals not scaled, with the concatenation's order turned round, and with the
/// squares of pixels read column by column.
#[test]
fn the_reference_is_met() {
    for (name, of) in NAMES {
        let model = load(name, &Device::Cpu);
        assert_eq!(model.factor(), if of == "x4" { 4 } else { 2 });
        let worst = distance(&model, of);
        println!("{name}: {worst:.2e}");
        assert!(worst <= 1e-5, "{name}: {worst:.2e}");
    }
}

/// The published weights of RealESRGAN_x4plus_anime_6B.
#[test]
fn trained_weights_meet_the_reference() {
    if trained().is_none() {
        println!("skipped: NIJIMI_UPSCALERS names no folder of tests/fixtures/upscalers/trained.py");
        return;
    }
    let name = "realesrgan-x4plus-anime";
    let model = load(name, &Device::Cpu);
    let network = &model.info().network;
    assert_eq!((network.blocks, network.features, network.growth, model.factor()), (6, 64, 32, 4));
    let worst = distance(&model, name);
    println!("{name}: {worst:.2e}");
    assert!(worst <= 1e-4, "{name}: {worst:.2e}");
}

/// Seen red with a slope of 0.1 in activation.wgsl.
#[cfg(feature = "gpu")]
#[test]
fn a_device_meets_the_reference() {
    let Some(gpu) = device::device() else { return };
    for (name, of) in [NAMES[0], NAMES[3]] {
        let worst = distance(&load(name, &Device::Gpu(gpu.clone())), of);
        println!("{name}: {worst:.2e}");
        assert!(worst <= 1e-3, "{name}: {worst:.2e}");
    }
}

fn upscaled(model: &Upscaler, size: [usize; 2], tiles: Option<[usize; 2]>) -> Vec<u8> {
    let pixels = picture(size);
    let mut request = model.request(&pixels, size);
    [request.tile, request.overlap] = tiles.unwrap_or([4096, 0]);
    let mut run = model.run(request).unwrap();
    assert_eq!(run.len() > 1, tiles.is_some());
    let mut made = 0;
    while let Some(tiles) = run.step().unwrap() {
        made += 1;
        assert_eq!(tiles, made);
    }
    assert_eq!(made, run.len());
    let picture = run.finish().unwrap();
    assert_eq!([picture.height, picture.width], size.map(|side| side * model.factor()));
    picture.bytes
}

/// Where tiles overlap as far as the network reaches, they are the whole picture's, to the bit; with less of it they
/// are near. Seen red with a reach of half as much, with what is kept shifted by a pixel, with windows one overlap too far
/// apart, and with the last one beginning where the step says.
#[test]
fn tiles_are_the_whole_picture() {
    for (name, size) in [("x4", [171, 13]), ("x2", [9, 203])] {
        let model = load(name, &Device::Cpu);
        let reach = model.info().network.reach();
        let whole = upscaled(&model, size, None);
        assert!(whole == upscaled(&model, size, Some([4 * reach, reach])), "{name}");
        let near = upscaled(&model, size, Some([40, 10]));
        let worst = whole.iter().zip(&near).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        println!("{name}: tiles of 40 pixels differ by {worst} of 255");
        assert!((1..=24).contains(&worst), "{name}: {worst}");
    }
}

/// Seen red with the last row repeated in place of the one before.
#[test]
fn what_is_no_multiple_is_mirrored() {
    let model = load("x2", &Device::Cpu);
    let small = picture([5, 4]);
    // By hand: a row and a column more, mirrored at the last.
    let row = |y: usize| &small[y * 4 * 3..(y + 1) * 4 * 3];
    let rows: Vec<f32> = [0, 1, 2, 3, 4, 3].iter().flat_map(|&y| row(y)).copied().collect();
    let draw = |pixels: &[f32], size| {
        let mut run = model.run(model.request(pixels, size)).unwrap();
        while run.step().unwrap().is_some() {}
        run.finish().unwrap().bytes
    };
    let (odd, even) = (draw(&small, [5, 4]), draw(&rows, [6, 4]));
    assert_eq!(odd.len(), 10 * 8 * 3);
    assert!(odd == even[..odd.len()]);
}

/// Seen red with the picture's size, the tile's and the limit not looked at.
#[test]
fn what_cannot_be_enlarged_is_said() {
    let model = load("x4", &Device::Cpu);
    let pixels = picture([20, 20]);
    let request = model.request(&pixels, [20, 20]);
    let refused = |request| model.run(request).err().unwrap().to_string();
    let mut other = request;
    other.size = [20, 21];
    assert_eq!(refused(other), "values of the picture is 1200, must be 1260 to 1260");
    other = request;
    other.tile = 39;
    assert_eq!(refused(other), "tile is 39, must be 40 to 16384");
    other = request;
    for limit in [1000, model.run(request).unwrap().bytes() as u64 - 1] {
        other.options.memory_limit = Some(limit);
        assert!(refused(other).contains(&format!("{limit} are allowed")), "{}", refused(other));
    }
    let run = model.run(request).unwrap();
    assert_eq!(
        run.finish().unwrap_err().to_string(),
        "number of tiles made is 0, must be 1: call step until it is None"
    );
    let bytes = file("x4", DType::F16);
    let any = Model::load(&File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
    assert!(any.draw("", 0).unwrap_err().to_string().contains("an upscaler draws no pictures by itself"));
}

/// A safetensors file of zeros with these tensors.
fn zeros(tensors: &[(&str, &[usize])]) -> Result<Checkpoint, ImportError> {
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<usize>();
        header.insert((*name).into(), serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let header = serde_json::Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; at]].concat();
    let path = temporary("safetensors");
    std::fs::write(&path, bytes).unwrap();
    let found = Checkpoint::open(&path, &Options::default());
    std::fs::remove_file(&path).unwrap();
    found
}

/// Seen red with such files taken for parts of a checkpoint, with the channels that it makes told by the first convolution,
/// and with any number of them taken.
#[test]
fn other_upscalers_are_refused_by_name() {
    let refused = |tensors: &[(&str, &[usize])]| zeros(tensors).unwrap_err().to_string();
    let compact = refused(&[("body.0.weight", &[8, 3, 3, 3]), ("body.0.bias", &[8]), ("body.1.weight", &[8])]);
    assert!(compact.contains("SRVGGNetCompact") && compact.contains("RealESRGAN_x4plus"), "{compact}");
    let (first, dense) = (("conv_first.weight", &[8, 3, 3, 3][..]), ("body.0.rdb1.conv1.weight", &[4, 8, 3, 3][..]));
    let lacks = refused(&[first, dense]);
    assert!(lacks.contains("it is an upscaler (RRDBNet), but the tensor conv_last.weight is missing"), "{lacks}");
    let odd = refused(&[("conv_first.weight", &[8, 5, 3, 3]), dense, ("conv_last.weight", &[3, 8, 3, 3])]);
    assert!(odd.contains("it reads 5 channels and makes 3"), "{odd}");
}
