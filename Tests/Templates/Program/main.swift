// Renders templates for check_templates.py. A line of input is a JSON object: "template" sets the template of the lines that follow;
// "variables" renders it. A line of output: {"text", "runs", "generations"} or {"code", "error"}.
import Glibc
import QwenSFTCore

/// Arguments and messages marked as the library marks them.
func values(_ variables: JSONObject) -> [(name: String, value: JinjaValue)] {
    variables.members.map { key, value in
        guard key == "messages", case .array(let messages) = value else {
            return (key, JinjaValue(value, TextOrigin(.argument)))
        }
        let list = messages.enumerated().map { i, message -> JinjaValue in
            guard case .object(let object) = message else {
                return JinjaValue(message, TextOrigin(.field, message: Int32(i)))
            }
            let pairs = object.members.map { key, value -> (key: JinjaValue, value: JinjaValue) in
                let source: TextOrigin.Source = key == "role" ? .role : key == "content" ? .content : .field
                return (
                    .text(JinjaText(key, TextOrigin(.field))), JinjaValue(value, TextOrigin(source, message: Int32(i)))
                )
            }
            return .dict(JinjaDict(pairs, origin: TextOrigin(.field, message: Int32(i)), message: Int32(i)))
        }
        return (key, .list(JinjaList(list)))
    }
}

func describe(_ error: QwenSFTError) -> JSONObject {
    var object = JSONObject()
    object["code"] = .integer(Int(error.code.rawValue))
    object["error"] = .string(error.message)
    return object
}

func describe(_ result: JinjaTemplate.Result) -> JSONObject {
    var object = JSONObject()
    object["text"] = .string(String(decoding: result.text.bytes, as: UTF8.self))
    object["runs"] = .array(
        result.text.runs.map { run in
            .array([.integer(run.end), .string("\(run.origin.source)"), .integer(Int(run.origin.message))])
        })
    object["generations"] = .array(
        result.generations.map { .array([.integer($0.lowerBound), .integer($0.upperBound)]) })
    return object
}

var template = Result<JinjaTemplate, QwenSFTError>.failure(QwenSFTError(.invalidArgument, "no template"))
while let line = readLine(strippingNewline: true) {
    let bytes = Array(line.utf8)
    var answer = JSONObject()
    do throws(QwenSFTError) {
        let value = bytes.withUnsafeBytes { bytes -> Result<JSONValue, QwenSFTError> in
            do throws(QwenSFTError) { return .success(try JSONValue(parsing: bytes, file: "input")) } catch {
                return .failure(error)
            }
        }
        let document = try JSONFields(value.get(), file: "input")
        if let text = try document.string("template") {
            do throws(QwenSFTError) { template = .success(try JinjaTemplate(Array(text.utf8))) } catch {
                template = .failure(error)
            }
        }
        if let variables = try document.object("variables") {
            answer = try describe(
                template.get().render(values(variables.object), clock: JinjaClock(secondsSince1970: 1_700_000_000)))
        } else {
            _ = try template.get()
        }
    } catch {
        answer = describe(error)
    }
    print(String(decoding: JSONValue.object(answer).serialized(), as: UTF8.self))
    fflush(nil)
}
