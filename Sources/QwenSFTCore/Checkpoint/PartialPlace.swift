import CSystem

/// The directory in which what is to become `output` is kept while it is being trained: OUTPUT.partial beside it. An output that
/// is a mount point or the current directory holds it itself, as `partial`: beside it would be outside of the volume.
package func partialPlace(of output: String) -> String {
    if qk_is_mount_point(output) == 1 || fileStatus(output)?.isSame(as: fileStatus(".")) == true {
        return joinPath(output, "partial")
    }
    var path = output[...]
    while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
    return path + ".partial"
}
