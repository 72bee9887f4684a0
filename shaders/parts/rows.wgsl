// Kernels of a workgroup a row of `p.c` elements, in place where y lies on x: `normalize` for each of `p.rows`, with what
// `total` is to be told.
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> x: array<S>;
//#end
@group(0) @binding(2) var<storage, read_write> y: array<S>;

//#if IN_PLACE
fn load(i: u32) -> f32 { return f32(y[i]); }
//#else
fn load(i: u32) -> f32 { return f32(x[i]); }
//#end

//#include "total.wgsl"

@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
//#if SUBGROUPS
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) subgroups: u32,
//#end
) {
//#if !SUBGROUPS
  let lane = 0u;
  let subgroup = 0u;
  let subgroups = 1u;
//#end
  // The same for the whole group, so that all its invocations meet the barriers or none does.
  let number = group.y * groups.x + group.x;
  if (number < p.rows) { normalize(number, local, lane, subgroup, subgroups); }
}
