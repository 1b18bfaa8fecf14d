//! An executable specification of keeping folders in sync, for any tool that does so: the state machine of Hughes, Pierce, Arts and
//! Norell, "Mysteries of Dropbox" (2016), for trees and any number of devices.
//!
//! A tool is a black box: devices with a folder each, and a way to wait until it has nothing to do ([`subject::Subject`]). People write,
//! move and delete; when a device uploads and downloads is hidden. The [`oracle`] is told what people did, what they found when they did
//! it, and what the folders hold when all is settled; it knows every outcome that some order of hidden events allows, and rejects all
//! others.
//!
//! Every content is written once only, so that a content says which writing it comes from:
//!
//! | File | What it is |
//! |---|---|
//! | `value` | a content that tells which one it is, and whether it is whole |
//! | `cell` | one file: its values, who is fresh and clean, its conflicts; the hidden events |
//! | `oracle` | all files of a history; what a settled tree must be |
//! | `history` | what people are to do, out of a seed; leaving steps out |
//! | `person` | does one step on a real folder and says what it found |
//! | `subject` | the seam to the tool under test; StackSync, and any tool with a command |
//! | `check` | plays histories against a tool, shrinks what fails |

pub mod cell;
pub mod check;
pub mod history;
pub mod oracle;
pub mod person;
pub mod subject;
pub mod value;
