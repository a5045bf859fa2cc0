use crate::*;
/// M
pub struct Machine;
impl Machine {
    /// N
    pub fn new(_config: Config, _key: Option<VoteSigningKey>) -> Self { Self }
    /// S
    pub fn step(&mut self, _input: Input, _check: &mut dyn CheckValue) -> Result<Vec<Effect>, Error> { Ok(vec![]) }
    /// H
    pub fn height(&self) -> Option<Height> { None }
    /// R
    pub fn start_replayed(&mut self, _height: Height, _validators: ValidatorSet, _entries: Vec<JournalEntry>, _check: &mut dyn CheckValue) -> Result<Vec<Effect>, Error> { Ok(vec![]) }
}
