//! Merging signal blocks: all rows of all inputs by time, those of one instant in the order of their writing.
//!
//! Signals are events: two that look the same are two, and both are kept. Rows follow their kind's schema by
//! position, so kinds must have the same fields in all inputs that have them; where only the derived metrics
//! differ, the later schema stands.

use std::borrow::Borrow;
use std::sync::Arc;

use annals_block::{BlockIdentity, EncodedBlock, SealWith, SignalBlock, SignalBlockWriter};
use annals_model::schema::KindSchema;
use annals_model::{TimeRange, Timestamp};

use crate::merge::{MergeError, lineage};

/// Merges signal blocks, given in LSN order, into one; signals at or before `floor` are left out. `None` where
/// nothing remains. `seal` is for the output; inputs have their keys.
///
/// Holds the rows of all inputs in memory, encoded in part, and the output.
pub fn merge_signals(
    inputs: &[impl Borrow<SignalBlock>],
    output: BlockIdentity,
    floor: Timestamp,
    seal: Option<SealWith<'_>>,
) -> Result<Option<EncodedBlock>, MergeError> {
    let inputs: Vec<&SignalBlock> = inputs.iter().map(Borrow::borrow).collect();
    let Some((lsns, level)) = lineage(inputs.iter().map(|block| block.meta()), output.id)? else {
        return Ok(None);
    };
    let in_output = |source| MergeError::Write { block: output.id, source };
    let range = TimeRange::new(floor, Timestamp::MAX);
    let mut writer = SignalBlockWriter::new(output, lsns, level, merge_kinds(&inputs)?);
    if let Some(seal) = seal {
        writer = writer.seal_with(seal);
    }
    for block in inputs {
        let damaged = |source| MergeError::Damaged { block: block.meta().id, source };
        for row in block.scan(range, &[]).map_err(damaged)? {
            writer.add(&row.map_err(|lost| damaged(lost.error))?).map_err(in_output)?;
        }
    }
    writer.finish().map_err(in_output)
}

/// The schemas of all inputs, one per kind, in the order in which kinds first appear.
fn merge_kinds(inputs: &[&SignalBlock]) -> Result<Vec<Arc<KindSchema>>, MergeError> {
    let mut merged: Vec<Arc<KindSchema>> = Vec::new();
    for block in inputs {
        let id = block.meta().id;
        for kind in block.kinds().map_err(|source| MergeError::Damaged { block: id, source })? {
            match merged.iter_mut().find(|known| known.name == kind.name) {
                None => merged.push(Arc::clone(kind)),
                Some(known) if known.fields == kind.fields => *known = Arc::clone(kind),
                Some(_) => {
                    return Err(MergeError::SchemaConflict { block: id, kind: Arc::clone(&kind.name) });
                }
            }
        }
    }
    Ok(merged)
}
