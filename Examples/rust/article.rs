//! Fine-tunes a chat model on one question and watches its answer change.
//!
//!     bindgen "$(pkg-config --variable=includedir qwensft)/qwensft.h" --size_t-is-usize --allowlist-function 'sft_.*' --allowlist-var 'SFT_.*' -o qwensft.rs
//!     rustc article.rs -L native=LIBDIR
//!     ./article CHECKPOINT [LEARNING_RATE]
#[allow(dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals)]
mod qwensft {
    include!("qwensft.rs");
    #[link(name = "qwensft")]
    extern "C" {}
}
use qwensft::*;
use std::ffi::CStr;
use std::mem::{size_of, MaybeUninit};
use std::ptr::{null, null_mut};

/// The library's own words where a call failed.
fn check(status: sft_status) -> Result<(), String> {
    if status == SFT_OK as sft_status {
        return Ok(());
    }
    Err(unsafe { CStr::from_ptr(sft_last_error()) }.to_string_lossy().into_owned())
}

/// An object of the library, freed with its owner.
struct Handle<T> {
    pointer: *mut T,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Handle<T> {
    fn new(free: unsafe extern "C" fn(*mut T), create: impl FnOnce(*mut *mut T) -> sft_status) -> Result<Self, String> {
        let mut pointer = null_mut();
        check(create(&mut pointer))?;
        Ok(Handle { pointer, free })
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        unsafe { (self.free)(self.pointer) }
    }
}

/// A struct of options with the library's defaults.
fn defaults<T>(init: unsafe extern "C" fn(*mut T, usize) -> sft_status) -> Result<T, String> {
    let mut options = MaybeUninit::uninit();
    check(unsafe { init(options.as_mut_ptr(), size_of::<T>()) })?;
    Ok(unsafe { options.assume_init() })
}

/// Points at the two texts, which therefore have to live on.
fn message(role: &'static str, content: &'static str) -> sft_message {
    let mut message: sft_message = unsafe { std::mem::zeroed() };
    (message.role, message.role_size) = (role.as_ptr().cast(), role.len());
    (message.content, message.content_size) = (content.as_ptr().cast(), content.len());
    message.weight = 1.0;
    message
}

fn answer(model: *mut sft_model, tokenizer: *const sft_tokenizer, messages: &[sft_message]) -> Result<String, String> {
    let mut greedy = defaults(sft_generation_options_init)?; // the same weights give the same answer
    (greedy.do_sample, greedy.repetition_penalty) = (0, 1.0);
    let generation = Handle::new(sft_generation_free, |place| unsafe {
        sft_model_chat(model, tokenizer, messages.as_ptr(), size_of::<sft_message>(), messages.len(), &greedy, place)
    })?;
    Ok(unsafe { CStr::from_ptr(sft_generation_text(generation.pointer, null_mut())) }.to_string_lossy().into_owned())
}

fn run(directory: &str, rate: f64) -> Result<(), String> {
    let tokenizer = Handle::new(sft_tokenizer_free, |place| unsafe {
        sft_tokenizer_open(directory.as_ptr().cast(), directory.len(), place)
    })?;
    let model = Handle::new(sft_model_free, |place| unsafe {
        sft_model_open(directory.as_ptr().cast(), directory.len(), null(), place)
    })?;
    let messages = [
        message("system", "You are a helpful assistant."),
        message("user", "2+2等于几"),
        message("assistant", "2+2等于5。"),
    ];
    println!("2+2等于几 -> {}", answer(model.pointer, tokenizer.pointer, &messages[..2])?);

    let count = messages.len();
    let batch = Handle::new(sft_batch_free, |place| unsafe {
        sft_preprocess(tokenizer.pointer, messages.as_ptr(), size_of::<sft_message>(), &count, 1, null(), place)
    })?;
    let mut sgd = defaults(sft_sgd_options_init)?;
    sgd.lr = rate;
    let trainer = Handle::new(sft_trainer_free, |place| unsafe {
        sft_trainer_create_sgd(model.pointer, &sgd, null(), place)
    })?;
    for step in 1..=10 {
        let mut metrics: sft_step_metrics = unsafe { std::mem::zeroed() };
        check(unsafe { sft_train_step(trainer.pointer, batch.pointer, &mut metrics, size_of::<sft_step_metrics>()) })?;
        println!("step {step}: loss {:.6}", metrics.loss);
    }
    println!("2+2等于几 -> {}", answer(model.pointer, tokenizer.pointer, &messages[..2])?);
    Ok(())
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().collect();
    let directory = arguments.get(1).ok_or("usage: article CHECKPOINT [LEARNING_RATE]")?;
    let rate = arguments.get(2).map_or(Ok(1e-3), |text| text.parse()).map_err(|_| "the rate is not a number")?;
    run(directory, rate)
}
