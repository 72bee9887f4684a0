//! PNG files.

use crate::canvas::Canvas;
use crate::fault::Fault;
use png::{BitDepth, ColorType, Encoder, EncodingError};

/// Encodes a picture, 8 bits a channel, gray or RGB, with a text chunk `parameters`.
pub fn png(canvas: &Canvas, parameters: String) -> Result<Vec<u8>, Fault> {
    let color = match canvas.channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        n => return Err(Fault::Input(format!("the model draws {n} channels: PNG takes 1 (gray) or 3 (RGB)"))),
    };
    encode(canvas, color, parameters).map_err(|e| Fault::Internal(format!("the picture cannot be encoded: {e}")))
}

fn encode(canvas: &Canvas, color: ColorType, parameters: String) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, canvas.width as u32, canvas.height as u32);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    let keyword = String::from("parameters");
    // A tEXt chunk holds Latin-1 alone.
    if parameters.chars().all(|c| u32::from(c) < 256) {
        encoder.add_text_chunk(keyword, parameters)?;
    } else {
        encoder.add_itxt_chunk(keyword, parameters)?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&canvas.pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_and_rgb_with_text_of_any_script() {
        for (channels, text) in [(1, "Größe"), (3, "数字")] {
            let mut canvas = Canvas::new(2, 3, channels);
            canvas.pixels.iter_mut().enumerate().for_each(|(i, p)| *p = i as u8);
            let bytes = png(&canvas, text.into()).unwrap();
            let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(pixels, canvas.pixels);
            let info = reader.info();
            let latin = info.uncompressed_latin1_text.iter().map(|chunk| chunk.text.clone());
            let utf8 = info.utf8_text.iter().map(|chunk| chunk.get_text().unwrap());
            assert_eq!(latin.chain(utf8).collect::<Vec<_>>(), [text]);
        }
        assert!(matches!(png(&Canvas::new(1, 1, 2), String::new()), Err(Fault::Input(_))));
    }
}
