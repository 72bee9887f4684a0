// Register tiles without workgroup memory, for adapters that are CPUs: WX invocations side by side in the output's
// channels share TM rows, whose inputs are then the same for the whole group: one scalar load each.
@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row0 = (group.z * groups.y + group.y) * TM;
  var rows: array<Row, TM>;
  for (var i = 0u; i < TM; i++) { rows[i] = row_of(min(row0 + i, p.rows - 1u)); }
  var cols: array<u32, TN>;
  for (var j = 0u; j < TN; j++) {
//#if GEGLU
    cols[j] = (group.x * (TN / 2u) + j / 2u) * WX + local.x + (j % 2u) * p.half;
//#else
    cols[j] = (group.x * TN + j) * WX + local.x;
//#end
  }
  var acc: array<array<f32, TN>, TM>;
  for (var tap = 0u; tap < p.taps; tap++) {
    var places: array<Address, TM>;
    for (var i = 0u; i < TM; i++) { places[i] = address(rows[i], tap); }
    for (var c = 0u; c < p.c4; c++) {
      var wv: array<vec4<f32>, TN>;
      for (var j = 0u; j < TN; j++) { wv[j] = load_w(tap * p.c4 + c, cols[j]); }
      for (var i = 0u; i < TM; i++) {
        let xv = load_x(places[i], c);
        for (var j = 0u; j < TN; j++) { acc[i][j] += dot(xv, wv[j]); }
      }
    }
  }
  for (var i = 0u; i < TM; i++) {
//#if GEGLU
    for (var j = 0u; j < TN; j += 2u) { finish_gated(row0 + i, cols[j], acc[i][j], acc[i][j + 1u]); }
//#else
    for (var j = 0u; j < TN; j++) { finish(row0 + i, cols[j], acc[i][j]); }
//#end
  }
}
