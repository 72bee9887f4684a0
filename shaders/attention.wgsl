// y = softmax(scale q k^T + bias) v for each head, with a running maximum and sum (Milakov and Gimelshein 2018; Dao et al.
// 2022), so that no row of scores is ever stored. Twin: runtime/src/cpu/attention.rs.
//
// A query belongs to TEAM invocations, each with a slice of D4 vectors of its head; a group has QUERIES of them. Keys
// come KEYS at a time. With a team of one and on adapters that are CPUs, keys and values are read where they lie: they
// are the same for the whole group. LENGTHS: a picture's queries see as many keys as its id says, or all for the largest id.
struct Params {
  queries: u32,  // L, tokens of q and y
  keys: u32,     // S, tokens of k and v
  c: u32,        // channels of all heads of q and y
  d: u32,        // channels of a head
  kv_c: u32,     // channels of all heads of k and v
  each: u32,     // heads of q that one of k and v serves
  scale: f32,    // 1 / sqrt(d), or what the network has in its place
//#if LENGTHS
  ids: u32,      // where this input's ids begin
//#end
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> q: array<XV>;
@group(0) @binding(2) var<storage, read_write> k: array<XV>;
@group(0) @binding(3) var<storage, read_write> v: array<XV>;
@group(0) @binding(4) var<storage, read_write> y: array<XV>;
//#if BIAS
// Of a key, a query and a head.
@group(0) @binding(5) var<storage, read_write> bias: array<S>;
//#end
//#if LENGTHS
@group(0) @binding(6) var<storage, read> ids: array<u32>;
//#end

const THREADS = TEAM * QUERIES;
//#if SHARED
const ROW = TEAM * D4;
var<workgroup> tile: array<vec4<f32>, KEYS * ROW>;
//#end
//#if TEAMED
var<workgroup> partial: array<f32, THREADS * KEYS>;
//#end

// No score is below this; exp(LOWEST - any score) is 0.
const LOWEST = -3.0e38;

@compute @workgroup_size(THREADS, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let mine = local / TEAM;
  let query = group.x * QUERIES + mine;
  let slice = (local % TEAM) * D4;
  let head = group.y * p.d;
  let kv_head = group.y / p.each * p.d;
  let image = group.z;
  let start = (image * p.queries + min(query, p.queries - 1u)) * p.c + head;
  var qv: array<vec4<f32>, D4>;
  var acc: array<vec4<f32>, D4>;
  for (var i = 0u; i < D4; i++) { qv[i] = load_q(start, slice + i) * p.scale; }
  var highest = LOWEST;
  var sum = 0.0;
//#if LENGTHS
  let seen = min(p.keys, ids[p.ids + image]);
//#else
  let seen = p.keys;
//#end
//#if CAUSAL
  // Keys beyond the group's last query are seen by none of it.
  let end = min(seen, (group.x + 1u) * QUERIES);
//#else
  let end = seen;
//#end
  for (var key0 = 0u; key0 < end; key0 += KEYS) {
    let keys = (image * p.keys + key0) * p.kv_c + kv_head;
//#if SHARED
    for (var at = local; at < KEYS * ROW; at += THREADS) { tile[at] = load_k(keys, seen, key0, at / ROW, at % ROW); }
    workgroupBarrier();
//#end
    var s: array<f32, KEYS>;
    for (var j = 0u; j < KEYS; j++) {
      var score = 0.0;
      for (var i = 0u; i < D4; i++) {
//#if SHARED
        score += dot(qv[i], tile[j * ROW + slice + i]);
//#else
        score += dot(qv[i], load_k(keys, seen, key0, j, slice + i));
//#end
      }
      s[j] = score;
    }
//#if TEAMED
    for (var j = 0u; j < KEYS; j++) { partial[j * THREADS + local] = s[j]; }
    workgroupBarrier();
    for (var j = 0u; j < KEYS; j++) {
      var score = 0.0;
      for (var t = 0u; t < TEAM; t++) { score += partial[j * THREADS + mine * TEAM + t]; }
      s[j] = score;
    }
//#end
    var top = highest;
    for (var j = 0u; j < KEYS; j++) {
//#if BIAS
      let pair = min(key0 + j, p.keys - 1u) * p.queries + min(query, p.queries - 1u);
      s[j] += f32(bias[pair * (p.c / p.d) + group.y]);
//#end
//#if CAUSAL
      if (key0 + j > query) { s[j] = LOWEST; }
//#end
      if (key0 + j >= seen) { s[j] = LOWEST; }
      top = max(top, s[j]);
    }
    let shrink = exp(highest - top);
    highest = top;
    sum *= shrink;
    for (var j = 0u; j < KEYS; j++) {
      s[j] = exp(s[j] - top);
      sum += s[j];
    }
//#if SHARED
    workgroupBarrier();
    for (var at = local; at < KEYS * ROW; at += THREADS) { tile[at] = load_v(keys, seen, key0, at / ROW, at % ROW); }
    workgroupBarrier();
//#end
    for (var i = 0u; i < D4; i++) { acc[i] *= shrink; }
    for (var j = 0u; j < KEYS; j++) {
      for (var i = 0u; i < D4; i++) {
//#if SHARED
        acc[i] += s[j] * tile[j * ROW + slice + i];
//#else
        acc[i] += s[j] * load_v(keys, seen, key0, j, slice + i);
//#end
      }
    }
//#if SHARED
    workgroupBarrier();
//#end
  }
  if (query >= p.queries) { return; }
//#if LENGTHS
  // Of no keys at all the sums are zeros.
  if (seen == 0u) { sum = 1.0; }
//#end
  for (var i = 0u; i < D4; i++) { store_y(start, slice + i, acc[i] / sum); }
}

// Vector `i` of a head: channels 4 i to 4 i + 3; zeros beyond the head and beyond the last key that is seen.
//#if X_VEC4
fn load_q(start: u32, i: u32) -> vec4<f32> { return select(vec4<f32>(0.0), vec4<f32>(q[start / 4u + i]), 4u * i < p.d); }
fn load_k(start: u32, seen: u32, key0: u32, j: u32, i: u32) -> vec4<f32> {
  let inside = 4u * i < p.d && key0 + j < seen;
  return select(vec4<f32>(0.0), vec4<f32>(k[(start + j * p.kv_c) / 4u + i]), inside);
}
fn load_v(start: u32, seen: u32, key0: u32, j: u32, i: u32) -> vec4<f32> {
  let inside = 4u * i < p.d && key0 + j < seen;
  return select(vec4<f32>(0.0), vec4<f32>(v[(start + j * p.kv_c) / 4u + i]), inside);
}
fn store_y(start: u32, i: u32, r: vec4<f32>) { if (4u * i < p.d) { y[start / 4u + i] = XV(r); } }
//#else
fn inside(i: u32) -> vec4<bool> { return vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.d); }
fn load_q(start: u32, i: u32) -> vec4<f32> {
  let at = start + 4u * i;
  return select(vec4<f32>(0.0), vec4<f32>(f32(q[at]), f32(q[at + 1u]), f32(q[at + 2u]), f32(q[at + 3u])), inside(i));
}
fn load_k(start: u32, seen: u32, key0: u32, j: u32, i: u32) -> vec4<f32> {
  let at = start + j * p.kv_c + 4u * i;
  let r = vec4<f32>(f32(k[at]), f32(k[at + 1u]), f32(k[at + 2u]), f32(k[at + 3u]));
  return select(vec4<f32>(0.0), r, inside(i) & vec4<bool>(key0 + j < seen));
}
fn load_v(start: u32, seen: u32, key0: u32, j: u32, i: u32) -> vec4<f32> {
  let at = start + j * p.kv_c + 4u * i;
  let r = vec4<f32>(f32(v[at]), f32(v[at + 1u]), f32(v[at + 2u]), f32(v[at + 3u]));
  return select(vec4<f32>(0.0), r, inside(i) & vec4<bool>(key0 + j < seen));
}
fn store_y(start: u32, i: u32, r: vec4<f32>) {
  for (var e = 0u; e < 4u; e++) { if (4u * i + e < p.d) { y[start + 4u * i + e] = S(r[e]); } }
}
//#end
