//! Tables in every form, right and wrong.

use super::super::tests::Folder;
use super::super::{CaptionOptions, CaptionStrategy, Captions};
use super::{Naming, TableOptions};
use crate::error::Result;
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn table(naming: Naming) -> TableOptions {
    TableOptions {
        path: None,
        naming,
        filename_column: None,
        caption_columns: Vec::new(),
        fallback_caption_column: None,
        names_have_extensions: false,
    }
}

fn metadata() -> TableOptions {
    table(Naming::Metadata)
}

/// The block of SimpleTuner's documentation, but for the table's form.
fn simpletuner(folder: &Folder, file: &str) -> TableOptions {
    TableOptions {
        path: Some(folder.path(file)),
        filename_column: Some("id".into()),
        caption_columns: vec!["cogvlm_caption".into()],
        fallback_caption_column: Some("tags".into()),
        ..table(Naming::SimpleTuner)
    }
}

fn options(table: TableOptions) -> CaptionOptions {
    CaptionOptions::new(CaptionStrategy::Table(table))
}

/// The captions of every picture, and the remarks.
fn read(folder: &Folder, table: TableOptions, pictures: &[&str]) -> Result<(Vec<Vec<String>>, Vec<String>)> {
    let paths: Vec<PathBuf> = pictures.iter().map(|name| folder.path(name)).collect();
    let options = options(table);
    let captions = Captions::open(&options, &folder.path(""), &paths)?;
    let read = paths.iter().map(|picture| captions.of(picture)).collect::<Result<_>>()?;
    Ok((read, captions.notes().to_vec()))
}

fn captions(folder: &Folder, table: TableOptions, pictures: &[&str]) -> Vec<Vec<String>> {
    read(folder, table, pictures).unwrap().0
}

fn refusal(folder: &Folder, table: TableOptions, pictures: &[&str]) -> String {
    let error = read(folder, table, pictures).unwrap_err();
    assert!(!error.cause.contains('\n') && !error.hint.is_empty(), "{error}");
    error.to_string()
}

#[test]
fn an_image_folder_of_hugging_face_is_read_in_its_three_forms() {
    let lines = "{\"file_name\": \"0001.png\", \"text\": \"a golden retriever\"}\n\n\
                 {\"file_name\": \"sub/0002.png\", \"text\": \"a german, or a shepherd\"}\n";
    let csv = "file_name,text\r\n0001.png,a golden retriever\r\nsub/0002.png,\"a german, or a shepherd\"\r\n";
    let pictures = ["0001.png", "sub/0002.png"];
    for (name, text) in [("metadata.jsonl", lines), ("metadata.csv", csv)] {
        let folder = Folder::new();
        folder.write(name, text);
        let read = captions(&folder, metadata(), &pictures);
        assert_eq!(read, [["a golden retriever"], ["a german, or a shepherd"]], "{name}");
    }
    let folder = Folder::new();
    let (names, texts) = (["0001.png", "sub/0002.png"], ["a golden retriever", "a german, or a shepherd"]);
    write_parquet(&folder.path("metadata.parquet"), &[("file_name", &names), ("text", &texts)]);
    assert_eq!(
        captions(&folder, metadata(), &pictures),
        [["a golden retriever"], ["a german, or a shepherd"]]
    );
}

#[test]
fn folders_may_have_tables_of_their_own() {
    let folder = Folder::new();
    folder.write("train/metadata.csv", "file_name,caption\na.png,in train\n");
    folder.write("test/metadata.jsonl", "{\"file_name\": \"a.png\", \"caption\": \"in test\"}");
    let read = captions(&folder, metadata(), &["test/a.png", "train/a.png"]);
    assert_eq!(read, [["in test"], ["in train"]]);
}

#[test]
fn sd_scripts_metadata_is_read_with_its_tags() {
    let folder = Folder::new();
    folder.write(
        "meta_cap.json",
        r#"{"/home/me/train/a.png": {"caption": "a cat", "tags": "cat, mat", "train_resolution": [1024, 960]},
            "b": {"tags": "dog, 1girl"}, "sub/c": {"caption": "a cow"}, "d": "a bare caption"}"#,
    );
    let options = TableOptions { path: Some(folder.path("meta_cap.json")), ..metadata() };
    let read = captions(&folder, options, &["a.png", "b.jpg", "sub/c.webp", "d.png"]);
    assert_eq!(read, [["a cat, cat, mat"], ["dog, 1girl"], ["a cow"], ["a bare caption"]]);

    folder.write(
        "metadata.jsonl",
        "{\"image_path\": \"a.png\", \"caption\": \"a cat\", \"image_size\": [8, 8]}\n\
         {\"image_path\": \"b.jpg\", \"tags\": [\"dog\", \"1girl\"]}",
    );
    assert_eq!(captions(&folder, metadata(), &["a.png", "b.jpg"]), [["a cat"], ["dog, 1girl"]]);
}

#[test]
fn simpletuner_tables_name_pictures_by_number_and_have_a_fallback() {
    let folder = Folder::new();
    folder.write("t.csv", "id,cogvlm_caption,tags,width\n12,a boat,boat,64\n13,,\"sea, sky\",64\n");
    let read = captions(&folder, simpletuner(&folder, "t.csv"), &["12.png", "13.jpg"]);
    assert_eq!(read, [["a boat"], ["sea, sky"]]);
    folder.write(
        "t.jsonl",
        "{\"id\": 12, \"cogvlm_caption\": [\"a boat\", \" a ship\", null]}\n\
         {\"id\": 13.0, \"cogvlm_caption\": \"\", \"tags\": \"sea\"}\n",
    );
    let read = captions(&folder, simpletuner(&folder, "t.jsonl"), &["12.png", "13.jpg"]);
    assert_eq!(read, [vec!["a boat", "a ship"], vec!["sea"]]);
    let defaults = TableOptions { path: Some(folder.path("d.csv")), ..table(Naming::SimpleTuner) };
    folder.write("d.csv", "filename,text,description,id\nother,no,a boat,12\n");
    assert_eq!(captions(&folder, defaults, &["12.png"]), [["a boat"]]);
}

#[test]
fn a_parquet_table_gives_numbers_lists_and_gaps() {
    let folder = Folder::new();
    let schema = "message schema { required int64 id;
        optional group cogvlm_caption (LIST) { repeated group list { optional binary element (UTF8); } }
        optional binary tags (UTF8); optional binary image; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(folder.path("t.parquet")).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[12, 13], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts = [ByteArray::from("a boat"), ByteArray::from("a ship")];
    column.typed::<ByteArrayType>().write_batch(&texts, Some(&[3, 3, 0]), Some(&[0, 1, 0])).unwrap();
    column.close().unwrap();
    for text in ["sea", "\u{1}"] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[text.into()], Some(&[0, 1]), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let read = captions(&folder, simpletuner(&folder, "t.parquet"), &["12.png", "13.jpg"]);
    assert_eq!(read, [vec!["a boat", "a ship"], vec!["sea"]]);
}

/// Written by pandas and pyarrow (`tests/fixtures/captions/make.py`).
#[test]
fn parquet_tables_of_other_programs_are_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captions");
    let folder = Folder::new();
    let list = TableOptions { path: Some(fixtures.join("list.parquet")), ..simpletuner(&folder, "") };
    let read = captions(&folder, list, &["12.png", "13.jpg", "14.png"]);
    assert_eq!(read, [vec!["a boat", "a ship"], vec!["sea, sky"], vec!["a tree"]]);
    let metadata = TableOptions { path: Some(fixtures.join("metadata.parquet")), ..metadata() };
    let read = captions(&folder, metadata, &["00.png", "17.png", "39.png"]);
    assert_eq!(read, [["picture of number 0"], ["picture of number 3"], ["picture of number 4"]]);
}

#[test]
fn several_columns_each_give_a_variant() {
    let folder = Folder::new();
    folder.write("t.tsv", "id\tlong\tshort\na\ta cat, sitting\ta cat\nb\t\ta dog\n");
    let options = TableOptions {
        path: Some(folder.path("t.tsv")),
        caption_columns: vec!["long".into(), "short".into()],
        ..table(Naming::SimpleTuner)
    };
    assert_eq!(
        captions(&folder, options, &["a.png", "b.png"]),
        [vec!["a cat, sitting", "a cat"], vec!["a dog"]]
    );
}

#[test]
fn names_are_paths_with_or_without_extension_or_unique_file_names() {
    let rows = |names: &[&str]| {
        let rows = names.iter().map(|name| format!("{name},about {name}\n"));
        format!("file_name,text\n{}", rows.collect::<String>())
    };
    let folder = Folder::new();
    let absolute = folder.path("sub/c.png").display().to_string();
    folder.write("metadata.csv", rows(&["./a.png", "sub\\b", &absolute, "/elsewhere/d.png", "e.v2"]));
    let read = captions(&folder, metadata(), &["a.png", "sub/b.png", "sub/c.png", "deep/d.png", "e.v2.png"]);
    assert!(read[0][0].ends_with("a.png") && read[1][0].ends_with("b") && read[2][0].ends_with("c.png"));
    assert!(read[3][0].ends_with("d.png") && read[4][0].ends_with("e.v2"));

    folder.write("metadata.csv", rows(&["x/a.png"]));
    refusal(&folder, metadata(), &["y/a.png", "z/a.png"]);
    folder.write("metadata.csv", rows(&["x/a.png", "y/a.png"]));
    assert_eq!(captions(&folder, metadata(), &["y/a.png"]), [["about y/a.png"]]);

    folder.write("metadata.csv", rows(&["a", "b.png"]));
    let exact = TableOptions { names_have_extensions: true, ..metadata() };
    let error = refusal(&folder, exact, &["a.png", "b.png"]);
    assert!(error.contains("a.png: has no caption"), "{error}");
}

#[test]
fn rows_of_other_pictures_are_remarked_on() {
    let folder = Folder::new();
    folder.write("metadata.csv", "file_name,text\na.png,a\nb.png,b\nc.png,\n");
    let (read, notes) = read(&folder, metadata(), &["a.png"]).unwrap();
    assert_eq!(read, [["a"]]);
    assert!(notes[0].contains("2 of 3 rows name no picture") && notes[0].contains("`b.png`"), "{notes:?}");
}

#[test]
fn what_is_wrong_with_a_table_is_said_with_its_place_and_cure() {
    let pictures = ["a.png", "b.png"];
    for (name, text, says) in [
        ("metadata.csv", "file_name,text\na.png,a\n", "b.png: has no caption: no row of"),
        (
            "metadata.csv",
            "file_name,text\na.png,a\n",
            "add a row for `b.png` (others are called like `a.png`)",
        ),
        (
            "metadata.csv",
            "file_name,text\na.png,a\nb.png,b\na.png,c\n",
            "line 4 is about a.png, as is line 2",
        ),
        ("metadata.csv", "file_name,text\na.png,a\nb.png,\n", "line 3 (b.png): column `text` is empty"),
        ("metadata.csv", "file_name,words\na.png,a\n", "its columns are file_name, words"),
        ("metadata.csv", "name,text\na.png,a\n", "`filename_column`"),
        ("metadata.csv", "file_name,text\na.png,a, b\n", "line 2: has 3 cells instead of 2"),
        ("metadata.csv", "file_name,text\n,a\n", "line 2: column `file_name` is empty"),
        ("metadata.csv", "file_name,text\n", "has no rows"),
        ("metadata.csv", "", "no column"),
        ("metadata.csv", "file_name,text\nx.png,a\n", "no row names a picture in"),
        (
            "metadata.jsonl",
            "{\"file_name\": \"a.png\", \"text\": \"a\"}\n{\"file_name\"",
            "line 2 is not valid JSON",
        ),
        ("metadata.jsonl", "[1]\n", "line 1 is not an object"),
        ("metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": 7}", "column `text` holds the number 7"),
        (
            "metadata.jsonl",
            "{\"file_name\": \"a.png\", \"text\": [\"a\", true]}",
            "a list with true or false",
        ),
        (
            "metadata.jsonl",
            "{\"file_name\": \"a.png\", \"words\": \"a\"}",
            "its columns are file_name, words",
        ),
        ("metadata.json", "{\"a.png\": {\"caption\": \"a\"}", "is not a table in JSON"),
        ("metadata.json", "{\"a.png\": 3}", "`a.png` holds neither an object nor a caption"),
        ("metadata.json", "{\"a.png\": {\"words\": \"a\"}}", "no column"),
        ("metadata.json", "7", "is not a table in JSON"),
        ("metadata.parquet", "PAR1", "cannot be read as Parquet"),
        ("captions.txt", "", "holds none of metadata.jsonl"),
    ] {
        let folder = Folder::new();
        folder.write(name, text);
        let error = refusal(&folder, metadata(), &pictures);
        assert!(error.contains(says), "{text:?}: {error}");
    }
    let folder = Folder::new();
    folder.write("metadata.csv", b"file_name,text\na.png,K\xe4tzchen\n");
    assert!(refusal(&folder, metadata(), &pictures).contains("is not UTF-8"));
    folder.write("metadata.jsonl", "{}");
    assert!(refusal(&folder, metadata(), &pictures).contains("metadata.csv lies beside it"));
    let path = Some(folder.path("nowhere.csv"));
    assert!(refusal(&folder, TableOptions { path, ..metadata() }, &pictures).contains("no such table"));
    folder.write("t.xlsx", "");
    let path = Some(folder.path("t.xlsx"));
    assert!(refusal(&folder, TableOptions { path, ..metadata() }, &pictures).contains(".parquet, .csv"));
}

#[test]
fn a_caption_that_two_rows_repeat_is_no_mistake() {
    let folder = Folder::new();
    folder.write("metadata.csv", "file_name,text\na.png,a\na.png,a\n");
    assert_eq!(captions(&folder, metadata(), &["a.png"]), [["a"]]);
}

#[test]
fn no_damage_to_a_parquet_table_makes_it_panic() {
    let folder = Folder::new();
    let path = folder.path("metadata.parquet");
    write_parquet(&path, &[("file_name", &["a.png", "b.png"]), ("text", &["a cat", "a dog"])]);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        let _ = read(&folder, metadata(), &["a.png", "b.png"]);
        std::fs::write(&path, &whole[..at]).unwrap();
        read(&folder, metadata(), &["a.png", "b.png"]).unwrap_err();
    }
}

/// A table of texts.
fn write_parquet(path: &Path, columns: &[(&str, &[&str])]) {
    let fields: String = columns.iter().map(|(name, _)| format!("required binary {name} (UTF8);")).collect();
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {fields} }}")).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, cells) in columns {
        let mut column = group.next_column().unwrap().unwrap();
        let cells: Vec<ByteArray> = cells.iter().map(|cell| ByteArray::from(*cell)).collect();
        column.typed::<ByteArrayType>().write_batch(&cells, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}
