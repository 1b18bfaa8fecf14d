//! What must hold in every world, each under a name of [`Check`](crate::Check).

use crate::Failure;
use crate::world::World;

/// Looks at a world while it runs.
pub trait Observer {
    /// After each step of the scheduler; `world.happened()` says what happened in it.
    ///
    /// # Errors
    /// What does not hold.
    fn after_step(&mut self, world: &World) -> Result<(), Failure>;
    /// When nothing is left to do and no fault happens any more.
    ///
    /// # Errors
    /// What does not hold.
    fn at_rest(&mut self, world: &World) -> Result<(), Failure>;
}

/// All checks.
#[derive(Debug, Default)]
pub struct Checks {}

impl Observer for Checks {
    fn after_step(&mut self, _world: &World) -> Result<(), Failure> {
        Ok(())
    }

    fn at_rest(&mut self, _world: &World) -> Result<(), Failure> {
        Ok(())
    }
}
