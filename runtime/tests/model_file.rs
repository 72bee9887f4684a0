//! What a model's file must be, and what is said where it is not.

#[path = "common/model.rs"]
mod common;

use common::Tiny;
use nijimi_runtime::gguf::{File, MetaValue};
use nijimi_runtime::model::{Device, Diffusion};
use nijimi_runtime::raw::nn::PixelUnet;
use nijimi_runtime::sampler::Solver;

fn refusal(tiny: Tiny) -> String {
    Diffusion::load(&File::new_checked(&tiny.bytes()).unwrap(), &Device::Cpu).expect_err("refused").to_string()
}

#[test]
fn the_description_is_read() {
    let p = Diffusion::load(&File::new_checked(&Tiny::new(3).bytes()).unwrap(), &Device::Cpu).unwrap();
    let info = p.info();
    assert_eq!((info.name.as_str(), info.license.as_str()), ("tiny", ""));
    assert_eq!(info.labels, ["0", "1", "2"]);
    assert_eq!(info.network, PixelUnet::Book(Tiny::new(3).network));
    assert_eq!((info.range, info.schedule.steps(), info.first_timestep), ([0.0, 1.0], 1000, 1));
    let d = info.defaults;
    assert_eq!((d.solver, d.steps, d.guidance_scale), (Solver::default(), 10, 3.0));
    assert!(p.weight_bytes() >= 4 * info.network.graph(1).unwrap().parameters());
}

#[test]
fn models_of_other_kinds_are_refused() {
    let other = |key, value: &str| refusal(Tiny::new(3).meta(key, value));
    let foreign = other("general.architecture", "sd1");
    assert!(foreign.contains("of another program (general.architecture is \"sd1\")"), "{foreign}");
    assert!(foreign.ends_with("make one of this program's with nijimi convert"), "{foreign}");
    assert!(refusal(Tiny::new(3).without("general.architecture")).contains("another program (it has no general."));
    for key in ["nijimi.system", "nijimi.network", "nijimi.schedule.kind", "nijimi.prediction_type"] {
        let text = other(key, "else");
        assert!(text.starts_with(&format!("{key} is \"else\", this version runs ")), "{text}");
    }
    assert!(refusal(Tiny::new(3).meta("nijimi.format_version", 2u32)).starts_with("nijimi.format_version is 2"));
    assert!(refusal(Tiny::new(3).without("nijimi.format_version")).contains("nijimi.format_version"));
    for solver in ["euler_b", "flow_euler"] {
        assert!(other("nijimi.sampler.method", solver).contains(&format!("nijimi.sampler.method is \"{solver}\"")));
    }
    let euler = Tiny::new(3).meta("nijimi.sampler.method", "euler").bytes();
    let euler = Diffusion::load(&File::new_checked(&euler).unwrap(), &Device::Cpu).unwrap();
    assert_eq!(euler.info().defaults.solver, Solver::Euler);
    assert!(other("nijimi.sampler.spacing", "even").contains("this version runs leading, trailing or linspace"));
}

/// Steps are spread as the file says, whatever the solver; a file that says nothing, as suits it. Seen red with the key not read, and
/// with the solver's own spacing kept.
#[test]
fn steps_visit_the_levels_that_the_file_names() {
    let visited = |tiny: Tiny, solver| {
        let model = Diffusion::load(&File::new_checked(&tiny.bytes()).unwrap(), &Device::Cpu).unwrap();
        model.calls(solver, 4).unwrap().calls().iter().map(|call| call.t).collect::<Vec<f32>>()
    };
    let trailing = || Tiny::new(3).meta("nijimi.sampler.spacing", "trailing");
    assert_eq!(visited(Tiny::new(3), Solver::default()), [750.0, 500.0, 250.0, 0.0]);
    assert_eq!(visited(trailing(), Solver::default()), [999.0, 749.0, 499.0, 249.0]);
    assert_eq!(visited(trailing(), Solver::Euler), [999.0, 749.0, 499.0, 249.0]);
}

#[test]
fn contradictions_are_refused() {
    let with = |key, value: MetaValue| refusal(Tiny::new(3).meta(key, value));
    let two = MetaValue::Strs(vec!["a".into(), "b".into()]);
    assert_eq!(with("nijimi.labels", two), "nijimi.labels is 2 names, must be 3, as nijimi.unet.label_count says");
    let twice = MetaValue::Strs(vec!["a".into(), "b".into(), "a".into()]);
    assert!(with("nijimi.labels", twice).contains("\"a\" twice"));
    assert!(with("nijimi.image.channels", 3u32.into()).contains("must be 1, as the network's"));
    assert!(with("nijimi.image.range", MetaValue::F32s(vec![1.0, 0.0])).contains("two rising numbers"));
    assert!(with("nijimi.image.height", 9u32.into()).contains("cannot be halved 2 times"));
    assert!(with("nijimi.schedule.steps", 0u32.into()).contains("steps"));
    assert!(with("nijimi.schedule.steps", u32::MAX.into()).contains("at most"));
    assert!(with("nijimi.sampler.steps", 1001u32.into()).contains("must be 1 to 1000"));
    assert!(with("nijimi.unet.time_dim", 0u32.into()).contains("time_dim is 0"));
    assert!(with("nijimi.unet.channels", MetaValue::U32s(vec![])).contains("number of levels is 0"));
    assert!(with("nijimi.unet.channels", MetaValue::U32s(vec![u32::MAX; 3])).contains("channels is 4294967295"));
}

// Seen red: `used` not kept; shapes compared by the number of elements.
#[test]
fn every_tensor_is_checked_against_the_network() {
    let missing = refusal(Tiny::new(3).edit(|name, _, _| name != "bot1.convs.0.bias"));
    assert_eq!(missing, "tensor bot1.convs.0.bias is missing: the network needs it with dimensions [32, 1, 1, 1]");
    let turned = refusal(Tiny::new(3).edit(|name, shape, _| {
        if name == "up1.mlp.0.weight" {
            shape.reverse();
        }
        true
    }));
    assert_eq!(turned, "tensor up1.mlp.0.weight has dimensions [24, 20, 1, 1], the network needs [20, 24, 1, 1]");
    let extra = refusal(Tiny { extra: Some("down9.bias"), ..Tiny::new(3) });
    assert!(extra.starts_with("tensor down9.bias with dimensions [3, 2, 1, 1] is not of this network"), "{extra}");
}
