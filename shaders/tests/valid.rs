//! Every shader of the table, through naga (with the writers of all its targets) and, where it is installed, tint.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use nijimi_shaders::{Flag, Kernel, Shader, table};
use std::process::Command;

/// What an adapter must have for a shader.
fn capabilities(shader: &Shader) -> Capabilities {
    // `unpack2x16float`, which WebGPU always has.
    let mut needed = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    needed.set(Capabilities::SHADER_FLOAT16, shader.has(Flag::F16) || shader.has(Flag::Coop));
    needed.set(Capabilities::SUBGROUP, shader.has(Flag::Subgroups) || shader.has(Flag::Coop));
    needed.set(Capabilities::COOPERATIVE_MATRIX, shader.has(Flag::Coop));
    needed
}

/// Seen red with a misspelled name in attention.wgsl, and with a `u32` for an `i32` in conv2d.wgsl.
#[test]
fn naga_accepts_every_variant_and_writes_it_for_every_target() {
    for shader in table::all() {
        let (label, text) = (shader.label(), shader.wgsl());
        let module =
            naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{label}\n{}", e.emit_to_string(&text)));
        let mut validator = Validator::new(ValidationFlags::all(), capabilities(&shader));
        let info = validator.validate(&module).unwrap_or_else(|e| panic!("{label}\n{}", e.emit_to_string(&text)));
        let spirv = naga::back::spv::Options { lang_version: (1, 6), ..Default::default() };
        naga::back::spv::write_vec(&module, &info, &spirv, None).unwrap_or_else(|e| panic!("{label}: SPIR-V: {e}"));
        let msl = naga::back::msl::Options { fake_missing_bindings: true, lang_version: (2, 4), ..Default::default() };
        naga::back::msl::write_string(&module, &info, &msl, &Default::default())
            .unwrap_or_else(|e| panic!("{label}: MSL: {e}"));
        // The other targets have no such matrices, or not through naga.
        if shader.has(Flag::Coop) {
            continue;
        }
        let mut out = String::new();
        let hlsl = naga::back::hlsl::Options {
            shader_model: naga::back::hlsl::ShaderModel::V6_2,
            fake_missing_bindings: true,
            ..Default::default()
        };
        let pipeline = naga::back::hlsl::PipelineOptions::default();
        naga::back::hlsl::Writer::new(&mut out, &hlsl, &pipeline)
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{label}: HLSL: {e}"));
    }
}

/// The browsers' compiler. Many files, so a few at a time.
#[test]
fn tint_accepts_every_variant() {
    if Command::new("tint").arg("--version").output().is_err() {
        eprintln!("skipped: tint is not installed");
        return;
    }
    let folder = std::env::temp_dir().join(format!("nijimi-tint-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // Cooperative matrices are naga's own extension.
    let all: Vec<Shader> = table::all().into_iter().filter(|shader| !shader.has(Flag::Coop)).collect();
    std::thread::scope(|scope| {
        for (thread, part) in all.chunks(all.len().div_ceil(2)).enumerate() {
            let folder = &folder;
            scope.spawn(move || {
                for shader in part {
                    let enable = if shader.has(Flag::Subgroups) { "enable subgroups;\n" } else { "" };
                    let file = folder.join(format!("{thread}.wgsl"));
                    std::fs::write(&file, format!("{enable}{}", shader.wgsl())).unwrap();
                    let out =
                        Command::new("tint").args(["--format", "wgsl", "-o", "/dev/null"]).arg(&file).output().unwrap();
                    assert!(out.status.success(), "{}\n{}", shader.label(), String::from_utf8_lossy(&out.stderr));
                }
            });
        }
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A shader stays within WebGPU's default limits.
#[test]
fn the_default_limits_of_webgpu_suffice() {
    for shader in table::all().iter().filter(|shader| !shader.has(Flag::Coop)) {
        let storage = shader.interface().bindings.iter().filter(|b| b.name != "p").count();
        assert!(storage <= 8, "{}: {storage} storage buffers", shader.label());
        let value = |name| shader.value(name).unwrap_or(1);
        let invocations = value("WX") * value("WY") * value("TEAM") * value("QUERIES");
        assert!(invocations <= 256, "{}: {invocations} invocations", shader.label());
        let memory = match shader.kernel() {
            Kernel::Linear | Kernel::Conv2d if shader.has(Flag::Tiled) => {
                value("BK4") * 16 * (value("WX") * value("TN") + value("WY") * value("TM") + 1)
            }
            Kernel::Attention if shader.has(Flag::Shared) => {
                let partial =
                    if shader.has(Flag::Teamed) { value("TEAM") * value("QUERIES") * value("KEYS") * 4 } else { 0 };
                value("KEYS") * value("TEAM") * value("D4") * 16 + partial
            }
            _ => value("WX") * 4,
        };
        assert!(memory <= 16384, "{}: {memory} bytes of workgroup memory", shader.label());
    }
}
