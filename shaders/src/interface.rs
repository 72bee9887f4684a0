//! What a shader binds, read off its own text, so that nothing says it a second time.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// How a binding is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A uniform buffer: the parameters.
    Uniform,
    /// A storage buffer that is only read: weights and tables.
    Read,
    /// A storage buffer that may be written. Activations are all bound so, since they lie in one buffer, of which WebGPU
    /// allows no reading and writing side by side in any other way.
    ReadWrite,
    /// A storage texture, `rgba8unorm`, that is only written.
    Texture,
}

/// One binding of group 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// How it is used.
    pub access: Access,
}

/// One field of the parameters, 4 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Whether it is an f32; otherwise it is a u32.
    pub float: bool,
}

/// What a shader binds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// All bindings.
    pub bindings: Vec<Binding>,
    /// The fields of the uniform structure, in their order.
    pub params: Vec<Field>,
}

impl Interface {
    pub(crate) fn of(wgsl: &str) -> Self {
        let bindings: Vec<Binding> = wgsl.lines().filter_map(binding).collect();
        let kind = wgsl
            .lines()
            .find_map(|line| line.strip_prefix("@group(0) @binding(0) var<uniform> p: ")?.strip_suffix(';'));
        let params = kind.map_or_else(Vec::new, |kind| fields(wgsl, kind));
        Self { bindings, params }
    }
}

/// `@group(0) @binding(3) var<storage, read> w: array<u32>;`
fn binding(line: &str) -> Option<Binding> {
    let (index, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(") var")?;
    let (access, rest) = match rest.strip_prefix(' ') {
        Some(rest) => (Access::Texture, rest),
        None => {
            let (space, rest) = rest.strip_prefix('<')?.split_once("> ")?;
            let access = match space {
                "uniform" => Access::Uniform,
                "storage, read" => Access::Read,
                "storage, read_write" => Access::ReadWrite,
                _ => return None,
            };
            (access, rest)
        }
    };
    let (name, _) = rest.split_once(':')?;
    Some(Binding { index: index.parse().ok()?, name: name.to_owned(), access })
}

/// The fields of a structure that has one on each line.
fn fields(wgsl: &str, kind: &str) -> Vec<Field> {
    let mut lines =
        wgsl.lines().skip_while(|line| line.strip_prefix("struct ").and_then(|l| l.strip_suffix(" {")) != Some(kind));
    lines.next();
    lines
        .take_while(|line| !line.starts_with('}'))
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(": ")?;
            Some(Field { name: name.to_owned(), float: rest.starts_with("f32") })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flag, Kernel, Shader};

    #[test]
    fn read_off_the_text() {
        let shader = Shader::new(Kernel::Linear).flag(Flag::WQ8_0, true).flag(Flag::Bias, true);
        let interface = shader.interface();
        let names: Vec<_> = interface.bindings.iter().map(|b| (b.index, b.name.as_str())).collect();
        assert_eq!(names, [(0, "p"), (1, "x"), (2, "y"), (3, "w"), (4, "w_scales"), (5, "bias")]);
        assert_eq!(interface.bindings[3].access, Access::Read);
        assert_eq!(interface.bindings[1].access, Access::ReadWrite);
        let params: Vec<_> = interface.params.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(params, ["rows", "n", "c_in", "c4", "taps", "c_out", "first", "half"]);
        let accept = Shader::new(Kernel::SamplerAccept).interface();
        assert_eq!(accept.params.iter().filter(|f| f.float).count(), 7);
        assert!(!accept.params[1].float && accept.params.len() == 12);
        assert_eq!(accept.bindings[6], Binding { index: 6, name: "c".into(), access: Access::Uniform });
        let texture = Shader::new(Kernel::ToTexture).interface();
        assert_eq!(texture.bindings[2], Binding { index: 2, name: "picture".into(), access: Access::Texture });
    }
}
