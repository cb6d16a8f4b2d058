//! The ways of explaining, by name.

use std::fmt;
use std::str::FromStr;

/// A way to find out which places of an image speak for a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Gradient-weighted class activation mapping (Selvaraju et al. 2017).
    GradCam,
    /// The same with weights by pixel, for several objects of a class (Chattopadhay et al. 2018).
    GradCamPlusPlus,
    /// Gradients on the way from a blank image (Sundararajan et al. 2017).
    IntegratedGradients,
    /// What is lost when a part is covered (Zeiler & Fergus 2014).
    Occlusion,
    /// What the class token attends to, through all layers (Abnar & Zuidema 2020).
    Attention,
}

impl Method {
    /// All there are, by their names.
    pub const NAMED: [(&str, Method); 5] = [
        ("grad-cam", Method::GradCam),
        ("grad-cam++", Method::GradCamPlusPlus),
        ("integrated-gradients", Method::IntegratedGradients),
        ("occlusion", Method::Occlusion),
        ("attention", Method::Attention),
    ];

    /// Whether it also says what speaks against the class.
    pub fn is_signed(self) -> bool {
        matches!(self, Method::IntegratedGradients | Method::Occlusion)
    }

    /// Whether it looks at a layer that can be chosen.
    pub fn has_layer(self) -> bool {
        matches!(self, Method::GradCam | Method::GradCamPlusPlus)
    }

    /// What its heat means, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Method::GradCam => {
                "Grad-CAM: warm is where the features of a layer are that raise the class's logit, as its gradient says; \
                 as coarse as that layer."
            }
            Method::GradCamPlusPlus => {
                "Grad-CAM++: warm is where the features of a layer are that raise the class's logit, counted pixel by pixel, \
                 so that several places can count; as coarse as that layer."
            }
            Method::IntegratedGradients => {
                "Integrated gradients: each pixel's part in the class's logit, compared with an image of background alone. \
                 Warm speaks for the class, cold against it."
            }
            Method::Occlusion => {
                "Occlusion: a patch of background is laid over every place in turn. Warm is where the class becomes less \
                 probable by it, cold where it becomes more probable."
            }
            Method::Attention => {
                "Attention roll-out: how much of each patch has reached the place that decides, through all layers. It says \
                 what was looked at, not what for: it is the same for every class."
            }
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let named = Method::NAMED.iter().find(|(_, method)| method == self);
        f.write_str(named.expect("all methods are named").0)
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Method, String> {
        let named = Method::NAMED.iter().find(|(name, _)| *name == text);
        let known = || Method::NAMED.map(|(name, _)| name).join(", ");
        named.map(|&(_, method)| method).ok_or_else(|| format!("{text:?} is none of the methods {}", known()))
    }
}
