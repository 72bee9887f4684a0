//! Tokens that were added to a vocabulary, wherever its files say so.

use super::support::Folder;
use nijimi_runtime::raw::text::{self, Special, Vocabulary};
use serde_json::{Map, Value, json};
use std::fs;

/// A pipeline whose table of tokens has room for so many more.
fn roomy(more: usize) -> (Folder, usize) {
    let folder = Folder::copy_of("sd1");
    let count = folder.open().unwrap().tokenizer.unwrap().tokens.len();
    folder.edit("text_encoder/config.json", |map| {
        map.insert("vocab_size".into(), json!(count + more));
    });
    super::support::edit_weights(&folder.join("text_encoder/model.safetensors"), |tensors| {
        let table = tensors.iter_mut().find(|(name, _)| name.ends_with("token_embedding.weight")).unwrap().1;
        let row = table.2.len() / table.1[0];
        table.1[0] = count + more;
        table.2.resize(row * (count + more), 0x22);
    });
    (folder, count)
}

/// Seen red with the shorter of two tokens found first.
#[test]
fn added_tokens_are_found_before_the_pairs() {
    type Write = fn(&Folder, &[(&str, usize)]);
    let ways: [(&str, Write); 3] = [
        ("added_tokens.json", |folder, added| {
            let map: Map<_, _> = added.iter().map(|(t, id)| (t.to_string(), json!(id))).collect();
            folder.write("tokenizer/added_tokens.json", Value::Object(map).to_string());
        }),
        ("tokenizer_config.json", |folder, added| {
            let map: Map<_, _> = added.iter().map(|(t, id)| (id.to_string(), json!({"content": t}))).collect();
            folder.edit("tokenizer/tokenizer_config.json", |config| {
                config.insert("added_tokens_decoder".into(), Value::Object(map));
            });
        }),
        ("tokenizer.json", |folder, added| {
            fs::remove_file(folder.join("tokenizer/vocab.json")).unwrap();
            folder.edit("tokenizer/tokenizer.json", |json| {
                let list = json.entry("added_tokens").or_insert(json!([])).as_array_mut().unwrap();
                list.extend(added.iter().map(|(token, id)| json!({"id": id, "content": token})));
            });
        }),
    ];
    for (name, write) in ways {
        let (folder, count) = roomy(2);
        write(&folder, &[("<cat", count), ("<cat-toy>", count + 1)]);
        let found = folder.open().unwrap_or_else(|e| panic!("{name}: {e}")).tokenizer.unwrap();
        assert_eq!(found.added, ["<cat", "<cat-toy>"], "{name}");
        let vocabulary = Vocabulary { tokens: found.tokens, merges: found.merges, added: found.added };
        let special = Special { start: found.bos, end: found.eos, pad: found.pad, length: 77 };
        let tokenizer = text::Tokenizer::new(&vocabulary, special).unwrap();
        let plain = [tokenizer.encode("a "), tokenizer.encode(" b")];
        let ids = [&plain[0][..], &[count as u32 + 1], &plain[1], &[count as u32]].concat();
        assert_eq!(tokenizer.encode("a <cat-toy> b<cat"), ids, "{name}");
    }
}

/// Seen red with ids that contradict each other let through.
#[test]
fn added_tokens_that_cannot_be_obeyed() {
    let refused = |edit: &dyn Fn(&Folder, usize)| {
        let (folder, count) = roomy(1);
        edit(&folder, count);
        folder.refused()
    };
    let added = |folder: &Folder, map: Value| folder.write("tokenizer/added_tokens.json", map.to_string());
    let decoder = |folder: &Folder, id: usize, token: Value| {
        folder.edit("tokenizer/tokenizer_config.json", |config| {
            config.insert("added_tokens_decoder".into(), json!({ id.to_string(): token }));
        });
    };
    for (message, edit) in [
        (
            "\"<a>\" has two ids",
            &(|folder: &Folder, count: usize| {
                added(folder, json!({"<a>": count}));
                decoder(folder, count + 1, json!({"content": "<a>"}));
            }) as &dyn Fn(&Folder, usize),
        ),
        ("ids must be dense", &|folder, count| added(folder, json!({"<a>": count + 5}))),
        ("single_word", &|folder, count| decoder(folder, count, json!({"content": "<a>", "single_word": true}))),
        ("knows", &|folder, count| added(folder, json!({"<a>": count, "<b>": count + 1}))),
        ("additional_special_tokens \"<z>\"", &|folder, _| {
            folder
                .write("tokenizer/special_tokens_map.json", json!({"additional_special_tokens": ["<z>"]}).to_string());
        }),
        ("windows have 64 tokens", &|folder, _| {
            folder.edit("tokenizer/tokenizer_config.json", |config| {
                config.insert("model_max_length".into(), json!(64));
            });
        }),
    ] {
        let found = refused(edit);
        assert!(found.contains(message), "{message:?} is not in {found:?}");
    }
}
