//! Noise from a file, and what came of it into one, so that a run can be compared with that of another program.
//!
//! In the file, tensors are `(n, c, h, w)`, as PyTorch has them; in memory, channels come last: `(n, h, w, c)`.

use crate::cli::value::LatentsFile;
use crate::fault::Fault;
use nijimi_import::{ImportError, TensorFile};
use nijimi_runtime::gguf::write_atomic;
use nijimi_runtime::raw::layout::channels_last;
use std::path::Path;

/// Names of the tensors that are written.
const NOISE: &str = "noise";
const LATENTS: &str = "latents";

/// A shape, as files have it: pictures, channels, height, width.
pub type Shape = [usize; 4];

/// Reads the tensor that is named, or else `noise`, or `latents`, or the only one, which must have this shape.
///
/// # Errors
/// A file that cannot be read or has no such tensor, another shape, or values that are not finite.
pub fn read(file: &LatentsFile, shape: Shape) -> Result<Vec<f32>, Fault> {
    let wrong = |e: ImportError| Fault::Input(e.to_string());
    let tensors = TensorFile::open(&file.path).map_err(wrong)?;
    let name = choose(&tensors, file.name.as_deref())?;
    let place = format!("{}: the tensor {name:?}", file.path.display());
    let found = &tensors.tensors()[name].shape;
    if found[..] != shape {
        let remedy = "these are pictures (-b), channels, height (-H) and width (-W), the last two in latents";
        return Err(Fault::Input(format!("{place} has the shape {found:?}, expected {shape:?}: {remedy}")));
    }
    let mut planes = Vec::new();
    tensors.read(name, 0..shape.iter().product(), &mut planes).map_err(wrong)?;
    if let Some(i) = planes.iter().position(|value| !value.is_finite()) {
        return Err(Fault::Input(format!("{place} has {} at element {i}: write the file again", planes[i])));
    }
    Ok(channels_last(&planes, shape[1], shape[2] * shape[3]))
}

/// Which tensor is meant.
fn choose<'a>(file: &'a TensorFile, name: Option<&'a str>) -> Result<&'a str, Fault> {
    let tensors = file.tensors();
    let mut preferred = name.map_or(vec![NOISE, LATENTS], |name| vec![name]);
    if let (None, 1, Some((only, _))) = (name, tensors.len(), tensors.first_key_value()) {
        preferred.push(only);
    }
    preferred.into_iter().find(|&name| tensors.contains_key(name)).ok_or_else(|| {
        let path = file.path().display();
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        let names = if names.is_empty() { "none".into() } else { names.join(", ") };
        let asked = name.unwrap_or("noise or latents");
        Fault::Input(format!("{path} has no tensor {asked}: name one of its tensors after a colon: {names}"))
    })
}

/// Writes the noise that a run started with, of unit variance, and the latents that were decoded, both `(n, h, w, c)`,
/// of this shape, as `noise` and `latents`. The file appears whole or not at all.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, shape: Shape, noise: &[f32], latents: &[f32]) -> Result<(), Fault> {
    let bytes = 4 * shape.iter().product::<usize>();
    let entry = |name: &str, from: usize| {
        let to = from + bytes;
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{from},{to}]}}")
    };
    let mut header = format!("{{{},{}}}", entry(LATENTS, 0), entry(NOISE, bytes));
    // The numbers begin at a multiple of 8.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    for values in [latents, noise] {
        // To planes again.
        file.extend(channels_last(values, shape[2] * shape[3], shape[1]).into_iter().flat_map(f32::to_le_bytes));
    }
    write_atomic(path, &file).map_err(|e| Fault::Input(format!("{e}: write to another place with --save-latents")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs, process};

    const SHAPE: Shape = [2, 3, 2, 4];

    fn asked(path: &Path, name: Option<&str>) -> LatentsFile {
        LatentsFile { path: path.into(), name: name.map(Into::into) }
    }

    /// A file with tensors of one number each.
    fn file(path: &Path, names: &[&str], number: f32) {
        let entry = |(i, name): (usize, &&str)| {
            format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":[1,1,1,1],\"data_offsets\":[{},{}]}}", 4 * i, 4 * i + 4)
        };
        let header = format!("{{{}}}", names.iter().enumerate().map(entry).collect::<Vec<_>>().join(","));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        (0..names.len()).for_each(|i| bytes.extend((number + i as f32).to_le_bytes()));
        fs::write(path, bytes).unwrap();
    }

    // Seen red: rows and columns exchanged; noise and latents exchanged; channels left where they were.
    #[test]
    fn what_is_written_is_read() {
        let path = env::temp_dir().join(format!("nijimi-{}-latents.safetensors", process::id()));
        let noise: Vec<f32> = (0..48).map(|i| i as f32 / 7.0).collect();
        let latents: Vec<f32> = (0..48).map(|i| -i as f32).collect();
        write(&path, SHAPE, &noise, &latents).unwrap();
        assert_eq!(read(&asked(&path, None), SHAPE), Ok(noise.clone()));
        assert_eq!(read(&asked(&path, Some("latents")), SHAPE), Ok(latents.clone()));

        // As PyTorch would see it: element (1, 2, 0, 3).
        let tensors = TensorFile::open(&path).unwrap();
        let mut planes = Vec::new();
        tensors.read("latents", 0..48, &mut planes).unwrap();
        assert_eq!(planes[43], latents[35]);
        assert_eq!(tensors.tensors()["noise"].shape, SHAPE);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(u64::from_le_bytes(*bytes.first_chunk().unwrap()) % 8, 0);

        let Err(Fault::Input(problem)) = read(&asked(&path, None), [1, 3, 2, 4]) else { panic!() };
        assert!(problem.contains("\"noise\" has the shape [2, 3, 2, 4], expected [1, 3, 2, 4]"), "{problem}");
        fs::remove_file(&path).unwrap();
    }

    // Seen red: latents before noise.
    #[test]
    fn which_tensor_is_meant() {
        let path = env::temp_dir().join(format!("nijimi-{}-which.safetensors", process::id()));
        for (names, name, want) in [
            (&["a", "latents", "noise"][..], None, Ok(3.0)),
            (&["a", "latents"], None, Ok(2.0)),
            (&["a"], None, Ok(1.0)),
            (&["a", "latents", "noise"], Some("a"), Ok(1.0)),
            (&["a", "b"], None, Err("has no tensor noise or latents: name one of its tensors after a colon: a, b")),
            (&["a"], Some("noise"), Err("has no tensor noise: name one of its tensors after a colon: a")),
            (&[], None, Err("after a colon: none")),
        ] {
            file(&path, names, 1.0);
            match (read(&asked(&path, name), [1; 4]), want) {
                (Ok(found), Ok(want)) => assert_eq!(found, [want], "{names:?}"),
                (Err(Fault::Input(found)), Err(want)) => assert!(found.contains(want), "{names:?}: {found}"),
                (found, _) => panic!("{names:?}: {found:?}"),
            }
        }
        file(&path, &["a"], f32::NAN);
        assert!(
            matches!(read(&asked(&path, None), [1; 4]), Err(Fault::Input(m)) if m.contains("has NaN at element 0"))
        );
        fs::write(&path, b"").unwrap();
        assert!(matches!(read(&asked(&path, None), [1; 4]), Err(Fault::Input(m)) if m.contains("is empty")));
        fs::remove_file(&path).unwrap();
        let nowhere = Path::new("nowhere/a.safetensors");
        assert!(matches!(write(nowhere, [1; 4], &[0.0], &[0.0]), Err(Fault::Input(m)) if m.contains("--save-latents")));
    }
}
