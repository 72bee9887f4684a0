// Cooperative matrices: a group of SM x SN subgroups makes a tile of the output, each subgroup TM x TN fragments of
// CT x CT, from halves in workgroup memory, summed in f32. Rows of a tile are padded, so that the rows of a fragment
// lie in different banks.
const THREADS = SUBGROUP * WY * WX;
const BM = WY * TM * CT;
const BN = WX * TN * CT;
const BK = 4u * BK4;
// In vectors, as the strides of loads are.
const PITCH = BK4 + 2u;
//#if GEGLU
const KEPT = 2u;
//#else
const KEPT = 1u;
//#end
var<workgroup> x_tile: array<vec4<f16>, BM * PITCH>;
var<workgroup> w_tile: array<vec4<f16>, BN * PITCH>;
var<workgroup> out_tile: array<f32, WY * WX * KEPT * CT * CT>;

// Column `j` of the tile, in this part of the weight. Fragments of values and gates alternate.
fn column(group: u32, j: u32) -> u32 {
//#if GEGLU
  let pair = j / (2u * CT) * CT + j % CT;
  return group * (BN / 2u) + pair + ((j / CT) % 2u) * p.half;
//#else
  return group * BN + j;
//#end
}

@compute @workgroup_size(THREADS, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) me: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let row0 = (group.z * groups.y + group.y) * BM;
  let my_row = subgroup / WX * TM * CT;
  let my_column = subgroup % WX * TN * CT;
  var acc: array<Sums, TM * TN>;
  for (var i = 0u; i < TM * TN; i++) { acc[i] = Sums(); }
  for (var tap = 0u; tap < p.taps; tap++) {
    for (var c0 = 0u; c0 < p.c4; c0 += BK4) {
      for (var at = me; at < BM * BK4; at += THREADS) {
        let k = at % BK4;
        let row = row_of(min(row0 + at / BK4, p.rows - 1u));
        let v = select(vec4<f32>(0.0), load_x(address(row, tap), c0 + k), c0 + k < p.c4);
        x_tile[at / BK4 * PITCH + k] = vec4<f16>(v);
      }
      for (var at = me; at < BN * BK4; at += THREADS) {
        let k = at / BN;
        let col = column(group.x, at % BN);
        // Beyond the last input x is zero, and columns beyond the last are not stored: other weights do no harm there.
        let v = load_w(tap * p.c4 + c0 + k, col);
        w_tile[at % BN * PITCH + k] = vec4<f16>(v);
      }
      workgroupBarrier();
      for (var k = 0u; k < BK; k += CT) {
        var a: array<Inputs, TM>;
        for (var i = 0u; i < TM; i++) { a[i] = coopLoadT<Inputs>(&x_tile[(my_row + i * CT) * PITCH + k / 4u], PITCH); }
        for (var j = 0u; j < TN; j++) {
          let b = coopLoad<Weights>(&w_tile[(my_column + j * CT) * PITCH + k / 4u], PITCH);
          for (var i = 0u; i < TM; i++) { acc[i * TN + j] = coopMultiplyAdd(a[i], b, acc[i * TN + j]); }
        }
      }
      workgroupBarrier();
    }
  }
  // Fragment by fragment through workgroup memory, where elements are known by row and column.
  let kept = subgroup * KEPT * CT * CT;
  for (var i = 0u; i < TM; i++) {
    for (var j = 0u; j < TN; j += KEPT) {
      for (var g = 0u; g < KEPT; g++) { coopStoreT(acc[i * TN + j + g], &out_tile[kept + g * CT * CT], CT); }
      workgroupBarrier();
      for (var e = lane; e < CT * CT; e += SUBGROUP) {
        let row = row0 + my_row + i * CT + e / CT;
        let col = column(group.x, my_column + j * CT + e % CT);
//#if GEGLU
        finish_gated(row, col, out_tile[kept + e], out_tile[kept + CT * CT + e]);
//#else
        finish(row, col, out_tile[kept + e]);
//#end
      }
      workgroupBarrier();
    }
  }
}
