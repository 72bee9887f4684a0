// The sum over a workgroup's invocations, for all of them; all must call it. `lane` is an invocation's place in its
// subgroup, which is number `subgroup` of `subgroups`.
//#if SUBGROUPS
var<workgroup> shared_sum: array<f32, WX>;

fn total(local: u32, lane: u32, subgroup: u32, subgroups: u32, v: f32) -> f32 {
  let part = subgroupAdd(v);
  if (lane == 0u) { shared_sum[subgroup] = part; }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < subgroups; i++) { sum += shared_sum[i]; }
  workgroupBarrier();
  return sum;
}
//#else
var<workgroup> shared_sum: array<f32, WX>;

fn total(local: u32, lane: u32, subgroup: u32, subgroups: u32, v: f32) -> f32 {
  shared_sum[local] = v;
  workgroupBarrier();
  for (var half = WX / 2u; half > 0u; half /= 2u) {
    if (local < half) { shared_sum[local] += shared_sum[local + half]; }
    workgroupBarrier();
  }
  let sum = shared_sum[0];
  workgroupBarrier();
  return sum;
}
//#end
