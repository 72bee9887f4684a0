//! Which type each tensor gets.

use crate::Types;
use nijimi_runtime::quant::DType;

/// Seen red with rules tried from the last, and with the type of a rule ignored.
#[test]
fn defaults_and_exceptions() {
    let mut types = Types::new(DType::Q8_0);
    let cases: [(&str, &[usize], DType); 9] = [
        ("unet.mid_block.resnets.0.conv1.weight", &[64, 3, 3, 64], DType::Q8_0),
        ("unet.mid_block.resnets.0.conv1.bias", &[64], DType::F32),
        ("unet.conv_norm_out.weight", &[64], DType::F32),
        ("unet.conv_in.weight", &[64, 3, 3, 4], DType::F16),
        ("vae.decoder.conv_out.weight", &[3, 3, 3, 64], DType::F16),
        ("vae.post_quant_conv.weight", &[4, 1, 1, 4], DType::F16),
        ("text_encoder.text_model.embeddings.token_embedding.weight", &[674, 64], DType::Q8_0),
        ("text_encoder.text_model.embeddings.token_embedding.weight", &[674, 60], DType::F16),
        ("text_encoder.text_model.embeddings.position_embedding.weight", &[77, 64], DType::F16),
    ];
    for (name, shape, dtype) in cases {
        assert_eq!(types.of(name, shape), dtype, "{name}");
    }
    types.rule("mid_block.*conv=q4_0").unwrap();
    types.rule("^vae\\.=f32").unwrap();
    types.rule("conv=f16").unwrap();
    types.rule("bias=q8_0").unwrap();
    for (name, shape, dtype) in [
        ("unet.mid_block.resnets.0.conv1.weight", &[64, 3, 3, 64][..], DType::Q4_0),
        ("unet.mid_block.attentions.0.proj_in.bias", &[64], DType::F32),
        ("vae.decoder.conv_out.weight", &[3, 3, 3, 64], DType::F32),
        ("unet.conv_out.weight", &[4, 3, 3, 64], DType::F16),
        ("unet.time_embedding.linear_1.weight", &[64, 64], DType::Q8_0),
    ] {
        assert_eq!(types.of(name, shape), dtype, "{name}");
    }
    let refused = |rule: &str| types.clone().rule(rule).unwrap_err().to_string();
    assert!(refused("vae").contains("PATTERN=TYPE"));
    assert!(refused("vae=f8").contains("there is no type \"f8\""));
    assert!(refused("(=f16").contains("tensor pattern \"(=f16\""));
    let tokens = "text_encoder.text_model.embeddings.token_embedding.weight";
    assert_eq!(Types::new(DType::Q4_0).of(tokens, &[674, 64]), DType::Q8_0);
    // Rows of which there are no whole blocks of 256.
    let linear = |inputs| Types::new(DType::Q4K).of("unet.time_embedding.linear_1.weight", &[64, inputs]);
    assert_eq!([linear(512), linear(320), linear(33)], [DType::Q4K, DType::Q8_0, DType::F16]);
    assert!(types.rule("mid_block=q6_k").is_ok(), "in lower case");
    assert_eq!(Types::new(DType::F16).of(tokens, &[674, 64]), DType::F16);
    // As long as all are floats, nothing needs an exception.
    assert_eq!(Types::new(DType::F32).of("unet.conv_in.weight", &[64, 3, 3, 4]), DType::F32);
}
