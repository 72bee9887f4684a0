// Elementwise kernels: one invocation a unit, on a grid that folds into y where x would exceed 65535 groups.
fn flat_index(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
  return (group.y * groups.x + group.x) * WX + local;
}
