//! A card, through the CUDA driver.
//!
//! The driver is loaded when a card is opened, so that the program starts on machines without one. The driver keeps
//! the current context for each thread, and any thread may call: every call makes this card's context current first.

use crate::device::cuda::gpu::{Address, Architecture, Event, Gpu, Graph, Properties, Stream};
use crate::device::cuda::image;
use crate::device::cuda::launch::Launch;
use crate::error::{Error, ErrorKind, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The oldest CUDA that the driver must know; NVIDIA's drivers know 13.0 from 580 on.
const OLDEST_CUDA: i32 = 13000;

/// The oldest compute capability that kernels are written for.
const OLDEST_COMPUTE: u32 = 80;

/// What is to be done about the driver.
const DRIVER_HINT: &str = "install NVIDIA's driver, 580 or newer (Linux, x86-64), or use --device cpu";

/// See the module's documentation.
#[derive(Debug)]
pub struct Driver {
    device: sys::CUdevice,
    context: sys::CUcontext,
    properties: Properties,
    loaded: Mutex<Loaded>,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Driver {}
// SAFETY: the driver's calls may be made from several threads at once.
unsafe impl Sync for Driver {}

/// What was loaded so far, and what was launched.
#[derive(Debug, Default)]
struct Loaded {
    modules: HashMap<&'static str, sys::CUmodule>,
    kernels: HashMap<&'static str, Kernel>,
    last: Option<&'static str>,
}

/// A loaded kernel.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    function: sys::CUfunction,
    /// Bytes of its parameter struct.
    parameter_bytes: usize,
    /// Bytes of dynamic shared memory that it may be launched with.
    shared_bytes: u32,
}

impl Driver {
    /// The first card that the driver shows; `CUDA_VISIBLE_DEVICES` chooses among several.
    ///
    /// # Errors
    /// This program has no kernels for it, or there is no driver, no card, or an old one.
    pub fn open() -> Result<Arc<dyn Gpu>> {
        if let Some(absence) = image::absence() {
            return Err(unusable(absence).hint(image::HINT));
        }
        let driver = driver_version()?;
        result::init().map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_NO_DEVICE => no_card(),
            _ => failed("the CUDA driver", error).hint(DRIVER_HINT),
        })?;
        if result::device::get_count().map_err(|error| failed("the CUDA driver", error))? == 0 {
            return Err(no_card());
        }
        let opened = |error| failed("opening the card", error);
        let device = result::device::get(0).map_err(opened)?;
        let properties = properties(device, driver).map_err(opened)?;
        check(&properties)?;
        // SAFETY: the device is one that the driver gave.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(opened)?;
        Ok(Arc::new(Self { device, context, properties, loaded: Mutex::default() }))
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        // The tables are whole at any time, whatever happened to the thread that held them.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the card's context current for this thread.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained until the drop.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| failed("the card", error))
    }

    /// Says what failed, and the kernel that was launched last: an asynchronous error is seen later than it happens.
    fn late(&self, what: &str, error: DriverError) -> Error {
        let failure = failed(what, error);
        let Some(kernel) = self.loaded().last else { return failure };
        let cause = format!("{} (the last kernel launched was {kernel})", failure.cause);
        Error { cause, ..failure }
            .hint("the card's context is lost: start again; compute-sanitizer finds the kernel")
    }

    /// The kernel of a launch, allowed to have the launch's shared memory; loaded when first asked for.
    fn kernel(&self, launch: &Launch) -> Result<Kernel> {
        let mut loaded = self.loaded();
        let mut kernel = match loaded.kernels.get(launch.kernel) {
            Some(kernel) => *kernel,
            None => self.load(&mut loaded, launch.kernel)?,
        };
        let (given, expected) = (launch.parameters.as_bytes().len(), kernel.parameter_bytes);
        if given != expected {
            let cause = format!("its parameters are {expected} bytes, not {given}");
            return Err(Error::new(ErrorKind::Kernel, launch.kernel, cause));
        }
        if launch.shared_bytes > kernel.shared_bytes {
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function belongs to a module that is never unloaded.
            unsafe {
                result::function::set_function_attribute(
                    kernel.function,
                    attribute,
                    launch.shared_bytes as i32,
                )
            }
            .map_err(|error| {
                let (asked, limit) = (launch.shared_bytes, self.properties.architecture.shared_memory);
                let what = format!(
                    "{}: {asked} bytes of shared memory where a block may have {limit}",
                    launch.kernel
                );
                failed(&what, error)
            })?;
            kernel.shared_bytes = launch.shared_bytes;
        }
        loaded.kernels.insert(launch.kernel, kernel);
        Ok(kernel)
    }

    /// Loads a kernel, and its module unless another of its kernels was loaded before.
    fn load(&self, loaded: &mut Loaded, symbol: &'static str) -> Result<Kernel> {
        /// What every kernel may have without asking.
        const SHARED_BYTES: u32 = 48 << 10;
        let (name, fatbin) = image::fatbin_for(symbol, self.properties.architecture.compute)?;
        let failed = |error| failed(symbol, error);
        let module = match loaded.modules.get(name) {
            Some(module) => *module,
            // SAFETY: the image is a fatbin that nvcc wrote, and static.
            None => unsafe { result::module::load_data(fatbin.as_ptr().cast()) }.map_err(failed)?,
        };
        loaded.modules.insert(name, module);
        let text = CString::new(symbol).map_err(|e| Error::new(ErrorKind::Kernel, symbol, e.to_string()))?;
        // SAFETY: the module is loaded and never unloaded.
        let function = unsafe { result::module::get_function(module, text) }.map_err(failed)?;
        let (mut offset, mut parameter_bytes) = (0, 0);
        // SAFETY: the function was just found, and both places live through the call.
        unsafe { sys::cuFuncGetParamInfo(function, 0, &mut offset, &mut parameter_bytes) }
            .result()
            .map_err(failed)?;
        Ok(Kernel { function, parameter_bytes, shared_bytes: SHARED_BYTES })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Streams, events, graphs and modules go with the context. A driver that is already gone has nothing to give
        // back.
        // SAFETY: retained once, in `open`.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// An error of opening.
fn unusable(cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Device, "--device cuda", cause)
}

fn no_card() -> Error {
    unusable("there is no NVIDIA card that the driver can use")
        .hint("see what nvidia-smi says and whether CUDA_VISIBLE_DEVICES hides the card, or use --device cpu")
}

/// An error of the driver, in its words.
fn failed(what: &str, error: DriverError) -> Error {
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    let cause = format!("{} ({:?})", text.unwrap_or_else(|_| "an error without a name".to_owned()), error.0);
    Error::new(ErrorKind::Device, what, cause)
}

/// The driver's version, in its own words; the driver is there and new enough.
fn driver_version() -> Result<String> {
    // SAFETY: loading the driver's library runs its initialisers, which are trusted like the driver itself.
    if !unsafe { sys::is_culib_present() } {
        return Err(unusable("there is no NVIDIA driver (no libcuda.so)").hint(DRIVER_HINT));
    }
    let mut cuda = 0;
    // SAFETY: the place lives through the call.
    unsafe { sys::cuDriverGetVersion(&mut cuda) }
        .result()
        .map_err(|error| failed("the CUDA driver", error).hint(DRIVER_HINT))?;
    let version = kernel_module_version().unwrap_or_else(|| "of unknown version".to_owned());
    if cuda < OLDEST_CUDA {
        let (major, minor) = (cuda / 1000, cuda % 1000 / 10);
        let cause = format!("the NVIDIA driver ({version}, CUDA {major}.{minor}) is too old: 580 is needed");
        return Err(unusable(cause).hint(DRIVER_HINT));
    }
    Ok(version)
}

/// The version that the driver's kernel module tells, such as `580.65.06`.
fn kernel_module_version() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.lines().next()?.split_whitespace().find(is_version).map(str::to_owned)
}

fn properties(device: sys::CUdevice, driver: String) -> std::result::Result<Properties, DriverError> {
    use sys::CUdevice_attribute as Attribute;
    // SAFETY: the device is one that the driver gave.
    let attribute = |name| unsafe { result::device::get_attribute(device, name) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32;
    let shared_memory = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as u32;
    // SAFETY: as above.
    let memory = unsafe { result::device::total_mem(device) }? as u64;
    let architecture = Architecture { compute: (10 * major + minor) as u32, multiprocessors, shared_memory };
    Ok(Properties { name: result::device::get_name(device)?, driver, architecture, memory })
}

/// Whether kernels of this program run on the card.
fn check(properties: &Properties) -> Result<()> {
    let (name, compute) = (&properties.name, properties.architecture.compute);
    let capability = format!("{name} has compute capability {}.{}", compute / 10, compute % 10);
    if compute < OLDEST_COMPUTE {
        return Err(
            unusable(format!("{capability}: 8.0 (Ampere) or newer is needed")).hint("use --device cpu")
        );
    }
    if image::modules().iter().any(|module| module.fatbin.is_some() && module.serves(compute)) {
        return Ok(());
    }
    let targets = image::targets().join(", ");
    Err(unusable(format!("{capability}, this build has CUDA kernels for {targets}")).hint(image::HINT))
}

fn stream(stream: Stream) -> sys::CUstream {
    stream.0 as sys::CUstream
}

fn event(event: Event) -> sys::CUevent {
    event.0 as sys::CUevent
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
}

impl Gpu for Driver {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn free_memory(&self) -> Result<u64> {
        self.enter()?;
        let (free, _) = result::mem_get_info().map_err(|error| self.late("GPU memory", error))?;
        Ok(free as u64)
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.enter()?;
        // SAFETY: nothing reads the memory as if it were initialised; the seam says that its content is arbitrary.
        unsafe { result::malloc_sync(bytes) }.map_err(|error| {
            if error.0 != sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                return self.late("GPU memory", error);
            }
            let (asked, all) = (gibibytes(bytes as u64), gibibytes(self.properties.memory));
            let free = self.free_memory().map_or_else(|_| "an unknown part".to_owned(), gibibytes);
            let cause = format!("{asked} more are needed, {free} of {all} are free");
            Error::new(ErrorKind::Device, "GPU memory", cause)
                .hint("end what else uses the card, or see `sargent plan` for settings that fit")
        })
    }

    unsafe fn release(&self, address: Address, _bytes: usize) {
        // A context that an error has ended has given its memory back.
        // SAFETY: promised by the caller.
        let _ = self.enter().map(|()| unsafe { result::free_sync(address) });
    }

    fn allocate_pinned(&self, bytes: usize) -> Result<NonNull<u8>> {
        self.enter()?;
        // SAFETY: the memory is initialised below.
        let memory =
            unsafe { result::malloc_host(bytes, 0) }.map_err(|error| self.late("pinned memory", error))?;
        // SAFETY: fresh memory of that size.
        unsafe { std::ptr::write_bytes(memory.cast::<u8>(), 0, bytes) };
        NonNull::new(memory.cast())
            .ok_or_else(|| Error::new(ErrorKind::Device, "pinned memory", "there is none"))
    }

    unsafe fn release_pinned(&self, memory: NonNull<u8>, _bytes: usize) {
        // SAFETY: promised by the caller.
        let _ = self.enter().map(|()| unsafe { result::free_host(memory.as_ptr().cast()) });
    }

    fn create_stream(&self) -> Result<Stream> {
        self.enter()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        stream.map(|stream| Stream(stream as u64)).map_err(|error| self.late("a stream", error))
    }

    fn create_event(&self) -> Result<Event> {
        self.enter()?;
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        event.map(|event| Event(event as u64)).map_err(|error| self.late("an event", error))
    }

    fn record(&self, what: Event, on: Stream) -> Result<()> {
        self.enter()?;
        // SAFETY: streams and events live as long as the card is open.
        unsafe { result::event::record(event(what), stream(on)) }
            .map_err(|error| self.late("an event", error))
    }

    fn wait(&self, on: Stream, what: Event) -> Result<()> {
        self.enter()?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: as for `record`.
        unsafe { result::stream::wait_event(stream(on), event(what), flags) }
            .map_err(|error| self.late("an event", error))
    }

    fn elapsed(&self, start: Event, end: Event) -> Result<f32> {
        self.enter()?;
        // SAFETY: as for `record`.
        unsafe { result::event::elapsed(event(start), event(end)) }
            .map_err(|error| self.late("an event", error))
    }

    unsafe fn upload(&self, to: Address, from: *const u8, bytes: usize, on: Stream) -> Result<()> {
        self.enter()?;
        // SAFETY: promised by the caller.
        unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, stream(on)) }
            .result()
            .map_err(|error| self.late("a copy to the card", error))
    }

    unsafe fn download(&self, to: *mut u8, from: Address, bytes: usize, on: Stream) -> Result<()> {
        self.enter()?;
        // SAFETY: promised by the caller.
        unsafe { sys::cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, stream(on)) }
            .result()
            .map_err(|error| self.late("a copy from the card", error))
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize, on: Stream) -> Result<()> {
        self.enter()?;
        // SAFETY: promised by the caller.
        unsafe { result::memcpy_dtod_async(to, from, bytes, stream(on)) }
            .map_err(|error| self.late("a copy on the card", error))
    }

    unsafe fn fill(&self, to: Address, byte: u8, bytes: usize, on: Stream) -> Result<()> {
        self.enter()?;
        // SAFETY: promised by the caller.
        unsafe { result::memset_d8_async(to, byte, bytes, stream(on)) }
            .map_err(|error| self.late("filling memory", error))
    }

    unsafe fn launch(&self, launch: &Launch, on: Stream) -> Result<()> {
        if launch.grid.contains(&0) {
            // The driver takes a grid without blocks for a mistake; here it is an operand without elements.
            return Ok(());
        }
        self.enter()?;
        let kernel = self.kernel(launch)?;
        self.loaded().last = Some(launch.kernel);
        let ([x, y, z], threads) = (launch.grid, (launch.threads, 1, 1));
        let mut arguments: [*mut c_void; 1] = [launch.parameters.as_bytes().as_ptr().cast_mut().cast()];
        // SAFETY: the function is loaded, the one argument has the size that the kernel declares and is copied by the
        // call; what its addresses mean is promised by the caller.
        unsafe {
            result::launch_kernel(
                kernel.function,
                (x, y, z),
                threads,
                launch.shared_bytes,
                stream(on),
                &mut arguments,
            )
        }
        .map_err(|error| self.late(launch.kernel, error))
    }

    fn synchronize(&self, on: Stream) -> Result<()> {
        self.enter()?;
        // SAFETY: streams live as long as the card is open.
        unsafe { result::stream::synchronize(stream(on)) }
            .map_err(|error| self.late("work on the card", error))
    }

    fn begin_capture(&self, on: Stream) -> Result<()> {
        self.enter()?;
        // Relaxed, because a kernel that is launched for the first time is loaded during the capture.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: streams live as long as the card is open.
        unsafe { result::stream::begin_capture(stream(on), mode) }
            .map_err(|error| self.late("a capture", error))
    }

    fn end_capture(&self, on: Stream) -> Result<Graph> {
        self.enter()?;
        let late = |error| self.late("a capture", error);
        // SAFETY: the stream lives as long as the card is open.
        let graph = unsafe { result::stream::end_capture(stream(on)) }.map_err(late)?;
        // SAFETY: the graph was just made; what it becomes does not need it any more, so it goes.
        unsafe {
            let ready = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags_enum(0));
            let destroyed = result::graph::destroy(graph);
            let ready = ready.map_err(late)?;
            destroyed.map_err(late)?;
            Ok(Graph(ready as u64))
        }
    }

    unsafe fn replay(&self, graph: Graph, on: Stream) -> Result<()> {
        self.enter()?;
        // SAFETY: graphs live as long as the card is open; the rest is promised by the caller.
        unsafe { result::graph::launch(graph.0 as sys::CUgraphExec, stream(on)) }
            .map_err(|error| self.late("a captured program", error))
    }
}
