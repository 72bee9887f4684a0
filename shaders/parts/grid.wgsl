// Elementwise kernels: `element` for each unit, on a grid that folds into y where x would exceed 65535 groups. The last
// groups reach beyond the last unit.
@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  element((group.y * groups.x + group.x) * WX + local);
}
