// Kernels on pictures: `element` for each unit of the output, on a grid with a row of groups for each of its lines, so that
// where an invocation stands costs one division; groups.z folds what exceeds 65535 lines.
@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let line = group.z * groups.y + group.y;
  let i = group.x * WX + local;
  if (line < p.lines && i < p.width) { element(line, i, line * p.width + i); }
}
