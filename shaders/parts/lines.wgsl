// Kernels on pictures: one row of groups for each line of the output, so that where an invocation stands costs one
// division; groups.z folds what exceeds 65535 lines.
fn line_of(group: vec3<u32>, groups: vec3<u32>) -> u32 { return group.z * groups.y + group.y; }
