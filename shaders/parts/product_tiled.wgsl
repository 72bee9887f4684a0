// Tiles in workgroup memory, for GPUs: a group of WX x WY invocations makes WY TM rows by WX TN columns of the output,
// taking BK4 vectors of 4 inputs at a time; each invocation holds TM x TN sums.
const BM = WY * TM;
const BN = WX * TN;
const THREADS = WX * WY;
const X_LOADS = (BM * BK4 + THREADS - 1u) / THREADS;
const W_LOADS = (BN * BK4 + THREADS - 1u) / THREADS;
// One more than the rows, so that neighbours, which store one row's inputs, meet different banks.
const PITCH = BM + 1u;
var<workgroup> x_tile: array<vec4<f32>, BK4 * PITCH>;
var<workgroup> w_tile: array<vec4<f32>, BK4 * BN>;

// Column `j` of the tile, in this part of the weight. Values and gates alternate, so that an invocation has both.
fn column(group: u32, j: u32) -> u32 {
//#if GEGLU
  let pair = j / (2u * WX) * WX + j % WX;
  return group * (BN / 2u) + pair + ((j / WX) % 2u) * p.half;
//#else
  return group * BN + j;
//#end
}

@compute @workgroup_size(WX, WY, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row0 = (group.z * groups.y + group.y) * BM;
  let me = local.y * WX + local.x;
  // Loads of x: neighbours take neighbouring inputs of one row, then the next row.
  var rows: array<Row, X_LOADS>;
  for (var i = 0u; i < X_LOADS; i++) { rows[i] = row_of(min(row0 + (me + i * THREADS) / BK4, p.rows - 1u)); }
  var acc: array<array<f32, TN>, TM>;
  for (var tap = 0u; tap < p.taps; tap++) {
    var places: array<Address, X_LOADS>;
    for (var i = 0u; i < X_LOADS; i++) { places[i] = address(rows[i], tap); }
    for (var c0 = 0u; c0 < p.c4; c0 += BK4) {
      for (var i = 0u; i < X_LOADS; i++) {
        let at = me + i * THREADS;
        let c = c0 + at % BK4;
        if (at < BM * BK4) { x_tile[(at % BK4) * PITCH + at / BK4] = select(vec4<f32>(0.0), load_x(places[i], c), c < p.c4); }
      }
      for (var i = 0u; i < W_LOADS; i++) {
        let at = me + i * THREADS;
        let c = c0 + at / BN;
        let col = column(group.x, at % BN);
        // Beyond the last input x is zero, and columns beyond the last are not stored: other weights do no harm there.
        if (at < BN * BK4) { w_tile[at] = load_w(tap * p.c4 + c, col); }
      }
      workgroupBarrier();
      for (var k = 0u; k < BK4; k++) {
        var wv: array<vec4<f32>, TN>;
        for (var j = 0u; j < TN; j++) { wv[j] = w_tile[k * BN + j * WX + local.x]; }
        for (var i = 0u; i < TM; i++) {
          let xv = x_tile[k * PITCH + i * WY + local.y];
          for (var j = 0u; j < TN; j++) { acc[i][j] += dot(xv, wv[j]); }
        }
      }
      workgroupBarrier();
    }
  }
  for (var i = 0u; i < TM; i++) {
    let row = row0 + i * WY + local.y;
//#if GEGLU
    for (var j = 0u; j < TN; j += 2u) {
      finish_gated(row, column(group.x, j * WX + local.x), acc[i][j], acc[i][j + 1u]);
    }
//#else
    for (var j = 0u; j < TN; j++) { finish(row, column(group.x, j * WX + local.x), acc[i][j]); }
//#end
  }
}
