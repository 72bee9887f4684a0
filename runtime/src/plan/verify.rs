//! A second opinion on a plan, which knows nothing of how it was made.

use super::{ALIGN, Plan, PlanError, Slot};
use alloc::borrow::ToOwned;
use alloc::vec::Vec;

impl Plan {
    /// Walks through the steps and keeps account of what the arena holds: every operand must be intact when it is
    /// read, no step may write over what it reads (but for an operand replaced in place), and the outputs must be
    /// intact at the end.
    ///
    /// # Errors
    /// The first step that breaks a rule. [`Plan::new`] makes no such plan; this is for tests and for plans changed
    /// by hand.
    pub fn verify(&self) -> Result<(), PlanError> {
        let mut intact: Vec<Slot> = Vec::new();
        let place = |intact: &mut Vec<Slot>, slot: Slot| {
            if !slot.offset.is_multiple_of(ALIGN) || slot.range().end > self.arena_len {
                return Err(PlanError::Misplaced { value: slot.value.index(), offset: slot.offset });
            }
            intact.retain(|other| !other.overlaps(&slot));
            intact.push(slot);
            Ok(())
        };
        for input in &self.inputs {
            place(&mut intact, input.slot)?;
        }
        for step in &self.steps {
            let mut replaced =
                step.op.in_place().filter(|x| x.offset == step.output.offset && x.len() >= step.output.len());
            for slot in step.op.reads() {
                let value = slot.value.index();
                if !intact.contains(&slot) {
                    return Err(PlanError::Clobbered { step: step.name.clone(), value });
                }
                // Taken once: a second reading of the replaced operand is not in place.
                if slot.overlaps(&step.output) && replaced.take() != Some(slot) {
                    return Err(PlanError::Aliased { step: step.name.clone(), value });
                }
            }
            place(&mut intact, step.output)?;
        }
        let lost = self.outputs.iter().find(|output| !intact.contains(&output.slot));
        lost.map_or(Ok(()), |output| {
            Err(PlanError::Clobbered { step: output.name.as_str().to_owned(), value: output.slot.value.index() })
        })
    }
}
