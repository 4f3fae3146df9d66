//! Base64 (RFC 4648 section 4), in which Kubernetes objects carry what is not plain text.

/// Reads padded base64 that encodes text; line breaks are passed over, as Kubernetes' reader does.
///
/// # Errors
/// What is wrong with it.
pub fn decode(text: &str) -> Result<String, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    if !digits.len().is_multiple_of(4) || padding > 2 {
        return Err("is no base64: its length or its padding is wrong".into());
    }
    let (mut bytes, mut bits, mut width) = (Vec::with_capacity(digits.len() / 4 * 3), 0_u32, 0);
    for digit in &digits[..digits.len() - padding] {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => return Err(format!("is no base64: it has {:?}", char::from(*other))),
        };
        bits = bits << 6 | u32::from(value);
        width += 6;
        if width >= 8 {
            width -= 8;
            bytes.push((bits >> width) as u8);
            bits &= (1 << width) - 1;
        }
    }
    String::from_utf8(bytes).map_err(|_| "is base64 of what is no text".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let examples = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9v\nYg==\n", "foob"),
            ("w7/Dvz8+", "ÿÿ?>"),
        ];
        for (encoded, text) in examples {
            assert_eq!(decode(encoded).as_deref(), Ok(text), "{encoded}");
        }
        for wrong in ["Zg", "Zg=", "=", "====", "Z===", "Zg==Zg==", "Z g=", "Zm9_", "/w=="] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
