//! The emulator with every kernel, as a C++ library that is linked in.

use crate::compile::{self, Failure, Job};
use crate::sources::{self, Source};
use crate::warn;
use std::path::{Path, PathBuf};

/// A way to compile all kernels; each has symbols of its own, so that one program holds all of them.
struct Variant {
    /// Folder of its objects.
    name: &'static str,
    /// Arguments beside the usual ones.
    arguments: &'static [&'static str],
    /// What stands before a kernel's symbol.
    prefix: &'static str,
    /// The table of its kernels.
    table: &'static str,
}

const VARIANTS: [Variant; 1] =
    [Variant { name: "plain", arguments: &[], prefix: "sargent_emulated_", table: "sargent_emulator_table" }];

/// The objects to link.
pub struct Library {
    objects: Vec<PathBuf>,
}

impl Library {
    /// Adds the compilations of the emulator and all kernels to `jobs`; none without a C++ compiler.
    pub fn plan(kernels: &[Source], out: &Path, jobs: &mut Vec<Job>) -> Result<Option<Self>, Failure> {
        let engine = sources::files(&Path::new(sources::FOLDER).join("emulator"), "cpp")?;
        if engine.is_empty() {
            return Ok(None);
        }
        let compiler = match compiler() {
            Ok(compiler) => compiler,
            Err(reason) => {
                warn(&format!("no C++ compiler, so this build has no emulator of CUDA kernels ({reason})"));
                return Ok(None);
            }
        };
        let out = out.join("emulator");
        let mut library = Self { objects: Vec::new() };
        let mut add = |source: &Path, folder: &str, arguments: &[&str]| -> Result<(), Failure> {
            let folder = out.join(folder);
            let create = std::fs::create_dir_all(&folder);
            create.map_err(|error| Failure(format!("{}: {error}", folder.display())))?;
            let output = folder.join(source.with_extension("o").file_name().unwrap_or_default());
            let mut command = compiler.to_command();
            command.args(arguments).args(["-x", "c++", "-c"]);
            library.objects.push(output.clone());
            jobs.push(Job { source: source.to_owned(), command, output });
            Ok(())
        };
        for source in &engine {
            add(source, "engine", &[])?;
        }
        for variant in &VARIANTS {
            for kernel in kernels {
                add(&kernel.path, variant.name, variant.arguments)?;
            }
            let table = out.join(variant.name).join("table.cpp");
            compile::write(&table, &variant.table(kernels))?;
            add(&table, variant.name, variant.arguments)?;
        }
        Ok(Some(library))
    }

    /// Links the objects, all compiled by now, into the program.
    pub fn link(&self) {
        cc::Build::new().cpp(true).objects(&self.objects).compile("sargent_emulator");
        println!("cargo::rustc-cfg=emulator");
    }
}

impl Variant {
    /// C++ that lists the kernels.
    fn table(&self, kernels: &[Source]) -> String {
        let symbols: Vec<&String> = kernels.iter().flat_map(|kernel| &kernel.symbols).collect();
        let (prefix, table) = (self.prefix, self.table);
        let declared: String = symbols
            .iter()
            .map(|symbol| format!("void {prefix}{symbol}(const void* parameters);\n"))
            .collect();
        let listed: String =
            symbols.iter().map(|symbol| format!("  {{\"{symbol}\", {prefix}{symbol}}},\n")).collect();
        format!(
            "#include \"emulator/api.h\"\nextern \"C\" {{\n{declared}\
             extern const sargent_emulator_entry {table}[];\n\
             const sargent_emulator_entry {table}[] = {{\n{listed}  {{nullptr, nullptr}},\n}};\n}}\n"
        )
    }
}

/// The C++ compiler, which works, with the arguments of every file. Emulated kernels are optimised in every profile,
/// because tests run through billions of emulated instructions.
fn compiler() -> Result<cc::Tool, String> {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .debug(false)
        .flag("-g1")
        .warnings(false)
        .include(sources::FOLDER);
    let tool = build.try_get_compiler().map_err(|error| error.to_string())?;
    let answer = tool.to_command().arg("--version").output().map_err(|error| error.to_string())?;
    if answer.status.success() { Ok(tool) } else { Err(format!("{} fails", tool.path().display())) }
}
