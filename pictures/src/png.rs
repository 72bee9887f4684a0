//! PNG files.

use ::png::text_metadata::{ITXtChunk, ZTXtChunk};
use ::png::{BitDepth, ColorType, Decoder, DecodingError, Encoder, EncodingError, Limits};
use std::io::{BufRead, Seek};

/// The first bytes of every PNG file.
pub const MAGIC: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// The text chunk that picture browsers read.
const KEYWORD: &str = "parameters";

/// Most bytes of a chunk, and of a text once it is unpacked.
const MAX_CHUNK: usize = 16 << 20;
const MAX_TEXT: usize = 2 << 20;

/// Why a picture cannot be written.
#[derive(thiserror::Error, Debug)]
pub enum NotEncoded {
    /// The model's pictures are not of a kind that PNG has here.
    #[error("the model draws {0} channels: PNG takes 1 (gray) or 3 (RGB)")]
    Channels(usize),
    /// The encoder refuses it.
    #[error("the picture cannot be encoded: {0}")]
    Encoder(#[from] EncodingError),
}

/// Encodes a picture of `[height, width, channels]`, 8 bits a channel, gray or RGB, with a text chunk `parameters`.
///
/// # Errors
/// Other than 1 or 3 channels; pixels that are not of that size.
pub fn png([height, width, channels]: [usize; 3], pixels: &[u8], parameters: String) -> Result<Vec<u8>, NotEncoded> {
    let color = match channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        n => return Err(NotEncoded::Channels(n)),
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    // A tEXt chunk holds Latin-1, but some programs take it for UTF-8: what is both is safe there.
    if parameters.is_ascii() {
        encoder.add_text_chunk(KEYWORD.into(), parameters)?;
    } else {
        encoder.add_itxt_chunk(KEYWORD.into(), parameters)?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// What a PNG file tells of itself.
#[derive(Debug, PartialEq)]
pub struct Facts {
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The kind of its pixels.
    pub color: ColorType,
    /// Bits of a channel, or of an index into the palette.
    pub bits: u8,
    /// Whether it is in the passes of Adam7.
    pub interlaced: bool,
    /// The text of the first chunk `parameters`: of tEXt, zTXt or iTXt.
    pub parameters: Option<String>,
    /// The names of all texts.
    pub keywords: Vec<String>,
}

impl Facts {
    /// Reads all chunks; of the pixels no more than their checksums.
    ///
    /// # Errors
    /// A file that is broken, or a chunk that is too large.
    pub fn read(file: impl BufRead + Seek) -> Result<Self, DecodingError> {
        let limits = Limits { bytes: MAX_CHUNK };
        let mut reader = Decoder::new_with_limits(file, limits).read_info()?;
        // A text may follow the pixels.
        reader.finish()?;
        let info = reader.info();
        let plain = info.uncompressed_latin1_text.iter().map(|text| (&text.keyword, Some(utf8(text.text.clone()))));
        // What is damaged, or too large once it is unpacked, is no text.
        let packed = info.compressed_latin1_text.iter().map(|text| {
            let mut unpacked = text.clone();
            let text_of = |chunk: &ZTXtChunk| chunk.get_text().ok().map(utf8);
            (&text.keyword, unpacked.decompress_text_with_limit(MAX_TEXT).ok().and_then(|()| text_of(&unpacked)))
        });
        let unicode = info.utf8_text.iter().map(|text| {
            let mut unpacked = text.clone();
            let text_of = |chunk: &ITXtChunk| chunk.get_text().ok();
            (&text.keyword, unpacked.decompress_text_with_limit(MAX_TEXT).ok().and_then(|()| text_of(&unpacked)))
        });
        let texts: Vec<_> = plain.chain(packed).chain(unicode).collect();
        Ok(Self {
            width: info.width,
            height: info.height,
            color: info.color_type,
            bits: info.bit_depth as u8,
            interlaced: info.interlaced,
            parameters: texts.iter().find(|text| text.0 == KEYWORD).and_then(|text| text.1.clone()),
            keywords: texts.iter().map(|text| text.0.clone()).collect(),
        })
    }
}

/// A text that was read as Latin-1, but is UTF-8 if its bytes are: stable-diffusion.cpp writes such chunks.
fn utf8(text: String) -> String {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::png::text_metadata::{EncodableTextChunk, ITXtChunk, TEXtChunk, ZTXtChunk};
    use std::io::Cursor;

    #[test]
    fn gray_and_rgb_with_text_of_any_script() {
        for (channels, text) in [(1, "Größe"), (3, "数字")] {
            let wanted: Vec<u8> = (0..6 * channels as u8).collect();
            let bytes = png([3, 2, channels], &wanted, text.into()).unwrap();
            let mut reader = Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(pixels, wanted);
            let facts = Facts::read(Cursor::new(&bytes)).unwrap();
            assert_eq!((facts.width, facts.height, facts.bits), (2, 3, 8));
            assert_eq!(facts.parameters.as_deref(), Some(text));
        }
        assert!(matches!(png([1, 1, 2], &[0; 2], String::new()), Err(NotEncoded::Channels(2))));
        assert!(matches!(png([1, 1, 3], &[0; 2], String::new()), Err(NotEncoded::Encoder(_))));
    }

    /// A PNG of one pixel with a text chunk after the pixels.
    fn with(chunk: &impl EncodableTextChunk) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 1, 1);
        encoder.set_depth(BitDepth::Sixteen);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[1, 2]).unwrap();
        writer.write_text_chunk(chunk).unwrap();
        writer.finish().unwrap();
        bytes
    }

    // Seen red: chunks after the pixels not read; Latin-1 taken as it is.
    #[test]
    fn texts_of_all_three_kinds_wherever_they_are() {
        let read = |bytes: &[u8]| Facts::read(Cursor::new(bytes)).unwrap().parameters;
        assert_eq!(read(&with(&TEXtChunk::new(KEYWORD, "Größe"))).as_deref(), Some("Größe"));
        assert_eq!(read(&with(&ZTXtChunk::new(KEYWORD, "Größe"))).as_deref(), Some("Größe"));
        let mut unicode = ITXtChunk::new(KEYWORD, "数字");
        assert_eq!(read(&with(&unicode)).as_deref(), Some("数字"));
        unicode.compress_text().unwrap();
        assert_eq!(read(&with(&unicode)).as_deref(), Some("数字"));
        // UTF-8 bytes, each a character of its own.
        let raw: String = "数字".bytes().map(char::from).collect();
        assert_eq!(read(&with(&TEXtChunk::new(KEYWORD, raw))).as_deref(), Some("数字"));

        let facts = Facts::read(Cursor::new(with(&TEXtChunk::new("workflow", "{}")))).unwrap();
        assert_eq!((facts.parameters, facts.keywords, facts.bits), (None, vec!["workflow".to_owned()], 16));
    }

    #[test]
    fn broken_files_are_errors() {
        let whole = with(&TEXtChunk::new(KEYWORD, "text"));
        // The last twelve bytes say that the file ends.
        for len in 0..whole.len() - 12 {
            assert!(Facts::read(Cursor::new(&whole[..len])).is_err(), "{len}");
        }
        let mut damaged = whole;
        damaged[17] ^= 1;
        assert!(Facts::read(Cursor::new(&damaged)).is_err());
    }
}
