//! The emulator with every kernel, as a C++ library that is linked in.

use crate::compile::{self, Failure, Job};
use crate::sources::{self, Source};
use crate::variant::{CHECKED, PLAIN, Variant};
use crate::warn;
use std::path::{Path, PathBuf};

/// The objects to link.
pub struct Library {
    objects: Vec<PathBuf>,
}

impl Library {
    /// Adds the compilations of the emulator and all kernels to `jobs`; none without a C++ compiler.
    pub fn plan(kernels: &[Source], out: &Path, jobs: &mut Vec<Job>) -> Result<Option<Self>, Failure> {
        let tests = sources::scan(&Path::new(sources::FOLDER).join("emulator").join("tests"))?;
        let kernels: Vec<&Source> = kernels.iter().chain(&tests).collect();
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
        let checks = compiler.is_like_gnu();
        for variant in [PLAIN].into_iter().chain(checks.then_some(CHECKED)) {
            for kernel in &kernels {
                add(&kernel.path, variant.name, variant.arguments)?;
            }
        }
        let table = out.join("table.cpp");
        compile::write(&table, &self::table(&kernels, checks))?;
        add(&table, "engine", &[])?;
        Ok(Some(library))
    }

    /// Links the objects, all compiled by now, into the program.
    pub fn link(&self) {
        cc::Build::new().cpp(true).objects(&self.objects).compile("sargent_emulator");
        println!("cargo::rustc-cfg=emulator");
        // examples/mutate loads kernels that call the emulator within the program.
        println!("cargo::rustc-link-arg-examples=-rdynamic");
    }
}

/// C++ that lists the kernels.
fn table(kernels: &[&Source], checks: bool) -> String {
    let symbols: Vec<&String> = kernels.iter().flat_map(|kernel| &kernel.symbols).collect();
    let declared = |variant: &Variant| -> String {
        let declare =
            |symbol: &&String| format!("void {}{symbol}(const void* parameters);\n", variant.prefix);
        symbols.iter().map(declare).collect()
    };
    let checked = |symbol: &str| {
        if checks { format!("{}{symbol}", CHECKED.prefix) } else { "nullptr".to_owned() }
    };
    let list =
        |symbol: &&String| format!("  {{\"{symbol}\", {}{symbol}, {}}},\n", PLAIN.prefix, checked(symbol));
    format!(
        "#include \"emulator/api.h\"\nextern \"C\" {{\n{}{}\
         extern const sargent_emulator_entry sargent_emulator_table[];\n\
         const sargent_emulator_entry sargent_emulator_table[] = {{\n{}  {{nullptr, nullptr, nullptr}},\n}};\n}}\n",
        declared(&PLAIN),
        if checks { declared(&CHECKED) } else { String::new() },
        symbols.iter().map(list).collect::<String>(),
    )
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
